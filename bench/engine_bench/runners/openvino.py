"""OpenVINO GenAI: its continuous batching pipeline. Runs in its own environment."""

import numpy as np
import openvino
import openvino_genai
from engine_bench.lines import Generate, Options, Prompts, Stopwatch, Times, multiplies_bf16, serve


def load(options: Options) -> tuple[str, Generate]:
    """Keys and values as wide as activations: by default they would be 8-bit, and no precision would be equal."""
    activations = "bf16" if multiplies_bf16() else "f32"
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1
    scheduler.enable_prefix_caching = True
    scheduler.max_num_seqs = options.max_num_sequences
    scheduler.max_num_batched_tokens = 2048
    properties = {
        "INFERENCE_PRECISION_HINT": activations,
        "KV_CACHE_PRECISION": activations,
        "INFERENCE_NUM_THREADS": options.num_threads,
    }
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        str(options.model_dir / options.precision), scheduler, "CPU", properties
    )

    def generate(prompts: Prompts, num_tokens: int) -> Times:
        watch = Stopwatch(len(prompts))
        config = openvino_genai.GenerationConfig(max_new_tokens=num_tokens, ignore_eos=True, do_sample=False)
        handles = [
            pipeline.add_request(index, openvino.Tensor(np.array([prompt], dtype=np.int64)), config)
            for index, prompt in enumerate(prompts)
        ]
        while pipeline.has_non_finished_requests():
            pipeline.step()
            for index, handle in enumerate(handles):
                if handle.can_read():
                    watch.note(index, sum(len(output.generated_ids) for output in handle.read().values()))
        return watch.times

    return f"OpenVINO GenAI {openvino_genai.__version__}, {activations}", generate


if __name__ == "__main__":
    serve(load)
