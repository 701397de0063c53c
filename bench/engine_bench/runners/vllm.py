"""vLLM on the CPU: its engine, stepped in this process. Runs in its own environment."""

import os

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}

import vllm
from engine_bench.lines import Generate, Options, Prompts, Stopwatch, Times, multiplies_bf16, serve
from vllm import EngineArgs, LLMEngine, SamplingParams, TokensPrompt
from vllm.sampling_params import RequestOutputKind


def load(options: Options) -> tuple[str, Generate]:
    """Without compilation, which needs minutes; int8 is W8A8 by compressed-tensors."""
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{options.num_threads - 1}"
    dtype = "bfloat16" if multiplies_bf16() else "float32"
    engine = LLMEngine.from_engine_args(
        EngineArgs(
            model=str(options.model_dir),
            dtype=dtype,
            max_model_len=options.max_num_tokens,
            max_num_seqs=options.max_num_sequences,
            skip_tokenizer_init=True,
            enforce_eager=True,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )
    )
    num_answered = 0

    def generate(prompts: Prompts, num_tokens: int) -> Times:
        nonlocal num_answered
        watch = Stopwatch(len(prompts))
        parameters = SamplingParams(
            temperature=0,
            max_tokens=num_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        for index, prompt in enumerate(prompts):
            engine.add_request(str(num_answered + index), TokensPrompt(prompt_token_ids=prompt), parameters)
        while engine.has_unfinished_requests():
            for output in engine.step():
                watch.note(int(output.request_id) - num_answered, len(output.outputs[0].token_ids))
        num_answered += len(prompts)
        return watch.times

    return f"vLLM {vllm.__version__}, eager, {dtype}", generate


if __name__ == "__main__":
    serve(load)
