"""Hugging Face transformers: `generate` on one left-padded batch, as its documentation has it."""

import torch
import transformers
from engine_bench.lines import Generate, Options, Prompts, Refusal, Stopwatch, Times, multiplies_bf16, serve


def load(options: Options) -> tuple[str, Generate]:
    """Greedy; attention by `scaled_dot_product_attention`."""
    if options.precision != "bf16":
        raise Refusal("int8: on a CPU it needs a further package")
    torch.set_num_threads(options.num_threads)
    dtype = torch.bfloat16 if multiplies_bf16() else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model_dir, dtype=dtype)
    model.eval()

    def generate(prompts: Prompts, num_tokens: int) -> Times:
        watch = Stopwatch(len(prompts))

        def note(_ids: torch.Tensor, _scores: torch.Tensor, **_: object) -> torch.Tensor:
            for index in range(len(prompts)):
                watch.note(index)
            return torch.zeros(len(prompts), dtype=torch.bool)

        width = max(map(len, prompts))
        padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        model.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            do_sample=False,
            pad_token_id=0,
            stopping_criteria=transformers.StoppingCriteriaList([note]),
        )
        return watch.times

    return f"transformers {transformers.__version__}, {str(dtype).removeprefix('torch.')}", generate


if __name__ == "__main__":
    serve(load)
