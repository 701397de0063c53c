"""Our engine: the replica's own, without the services around it."""

from engine_bench.lines import Generate, Options, Prompts, Stopwatch, Times, serve

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest


def load(options: Options) -> tuple[str, Generate]:
    """Greedy, as the others. The dtype is what a user gets for this checkpoint on this CPU."""
    engine, loaded = build_engine(
        options.model_dir,
        EngineConfig(
            device="cpu",
            dtype="auto",
            quantize="int8" if options.precision == "int8" else "none",
            num_threads=options.num_threads,
            max_running_sequences=options.max_num_sequences,
            kv_memory_bytes=1 << 30,
        ),
    )

    def generate(prompts: Prompts, num_tokens: int) -> Times:
        watch = Stopwatch(len(prompts))
        sampling = SamplingOptions(max_tokens=num_tokens, ignore_eos=True)
        for index, prompt in enumerate(prompts):
            engine.add(SequenceRequest(key=index, prompt_token_ids=prompt, sampling=sampling))
        while engine.has_work:
            for output in engine.step().outputs:
                watch.note(output.key, len(output.token_ids))
        return watch.times

    return f"penstock, {loaded.kernels}, {loaded.dtype}", generate


if __name__ == "__main__":
    serve(load)
