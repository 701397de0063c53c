"""A checkpoint directory becomes an engine, or one clear error."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import EOS_TOKEN_ID, VOCAB_SIZE, edit_config, save_checkpoint

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.models.packing import choose_quantization


def test_loaded_model_is_described(tmp_path: Path) -> None:
    """The fleet states these to everybody: they must be the checkpoint's."""
    save_checkpoint("llama_tied", tmp_path)
    edit_config(tmp_path, eos_token_id=EOS_TOKEN_ID)
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "top_p": 0.9}')
    engine, loaded = build_engine(tmp_path, EngineConfig(device="cpu", max_running_sequences=3))
    assert (loaded.architecture, loaded.vocab_size, loaded.context_length) == ("LlamaForCausalLM", VOCAB_SIZE, 512)
    assert (loaded.eos_token_ids, loaded.sampling_defaults.temperature) == ((EOS_TOKEN_ID,), 0.6)
    per_layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert loaded.num_parameters == VOCAB_SIZE * 64 + 3 * per_layer + 64
    packed_head = VOCAB_SIZE * 64  # a copy: the embedding must stay readable
    assert (loaded.dtype, loaded.quantization, loaded.device) == ("float32", "", "cpu")
    assert loaded.weight_bytes == 4 * (loaded.num_parameters + packed_head)
    assert (engine.limits.num_blocks, engine.limits.context_length) == (3 * 512 // 16, 512)
    assert len(loaded.revision) == 64


def test_plan_is_readable(checkpoint: Callable[[str], Path]) -> None:
    """An operator sees what the memory went to, and why it is that much."""
    _, loaded = build_engine(checkpoint("llama"), EngineConfig(device="cpu", max_running_sequences=2))
    assert loaded.plan.splitlines() == [
        f"model     LlamaForCausalLM, {loaded.num_parameters:,} parameters, float32 on cpu",
        "weights   461.2 KiB",
        "kv cache  780.0 KiB: room for 2 full contexts",
        "          64 blocks of 16 tokens, 1,024 tokens in all",
        "sequence  at most 512 tokens of prompt and output",
        "drafts    off",
    ]


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_loading_tells_how_far_it_is(family: str, checkpoint: Callable[[str], Path]) -> None:
    """Large weights take minutes: an operator sees that it goes on. The embedding is read first, and not counted."""
    shares: list[float] = []
    build_engine(checkpoint(family), EngineConfig(device="cpu", quantize="int8"), tell_share=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 4
    assert 0.5 < shares[-1] <= 1.0


@pytest.mark.parametrize(("quantize", "shown"), [("int8", "w8a8|w8a7"), ("int4", r"w4g32\+w8a[78]")])
def test_quantized_model_says_so(quantize: str, shown: str, checkpoint: Callable[[str], Path]) -> None:
    """It is smaller, and an operator sees by the plan what he runs."""
    config = EngineConfig(device="cpu", quantize=quantize, max_running_sequences=2)
    _, loaded = build_engine(checkpoint("llama"), config)
    assert re.fullmatch(shown, loaded.quantization)
    assert f"{loaded.num_parameters:,} parameters, float32, projections {loaded.quantization} on cpu" in loaded.plan
    embedding_bytes = 4 * VOCAB_SIZE * 64
    rounded_bytes = loaded.num_parameters - VOCAB_SIZE * 64
    assert loaded.weight_bytes < embedding_bytes + 1.3 * rounded_bytes


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantized_model_generates_nearly_what_the_whole_one_does(
    quantize: str, checkpoint: Callable[[str], Path]
) -> None:
    """The logits of a prompt move by what the rounding costs, and no more."""
    logits = []
    for setting in ("none", quantize):
        engine, _ = build_engine(checkpoint("qwen3"), EngineConfig(device="cpu", quantize=setting))
        sampling = SamplingOptions(max_tokens=1, logprobs=20)
        engine.add(SequenceRequest(key=1, prompt_token_ids=list(range(20, 60)), sampling=sampling))
        [found] = engine.step().outputs[0].logprobs
        logits.append({top.token_id: top.logprob for top in found.top})
    whole, rounded = logits
    both = whole.keys() & rounded.keys()
    assert len(both) > 10
    assert max(abs(whole[token_id] - rounded[token_id]) for token_id in both) < (0.4 if quantize == "int8" else 2.0)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_quantized_sequence_does_not_depend_on_its_neighbours(quantize: str, checkpoint: Callable[[str], Path]) -> None:
    """What others ask at the same time moves nobody's log probabilities by more than attention's rounding."""
    prompts = [[(7 * key + 3 * place) % VOCAB_SIZE for place in range(10 + 9 * key)] for key in range(6)]
    engine, _ = build_engine(checkpoint("llama"), EngineConfig(device="cpu", quantize=quantize, prefix_cache=False))
    alone = [_logprobs(engine, [prompt])[0] for prompt in prompts]
    for ours, theirs in zip(_logprobs(engine, prompts), alone, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0.0)


def _logprobs(engine: Engine, prompts: list[list[int]]) -> list[torch.Tensor]:
    """Log probabilities of the tokens of each prompt and of 8 output tokens, the prompts side by side."""
    found: list[list[float]] = [[] for _ in prompts]
    sampling = SamplingOptions(max_tokens=8, logprobs=0)
    for key, prompt in enumerate(prompts):
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling, prompt_logprobs=0))
    while engine.has_work:
        for output in engine.step().outputs:
            found[output.key] += [scored.logprob for scored in (*output.prompt_logprobs, *output.logprobs)]
    return [torch.tensor(values) for values in found]


@pytest.mark.parametrize(("setting", "allowed"), [("int3", "none, int8, int4"), ("fp8", "none, int8, int4")])
def test_unknown_quantization_is_refused(setting: str, allowed: str, checkpoint: Callable[[str], Path]) -> None:
    """Before any weight is read."""
    with pytest.raises(InvalidArgumentError, match=f"quantize: got '{setting}'; allowed: {allowed}"):
        build_engine(checkpoint("llama"), EngineConfig(device="cpu", quantize=setting))


def test_quantization_without_kernels_is_refused() -> None:
    """Rather than run unquantized under another name."""
    with pytest.raises(InvalidArgumentError, match="quantize: got 'int8'; allowed: none on cuda"):
        choose_quantization("int8", torch.device("cuda"), None)
    assert choose_quantization("none", torch.device("cuda"), None) is None


def test_eos_of_the_checkpoint_ends_a_sequence(tmp_path: Path) -> None:
    """With the first greedy token as EOS, the output is empty."""
    save_checkpoint("llama", tmp_path)
    request = SequenceRequest(key=1, prompt_token_ids=[5, 6], sampling=SamplingOptions(max_tokens=1))
    engine, _ = build_engine(tmp_path, EngineConfig(device="cpu"))
    engine.add(request)
    [first_token_id] = engine.step().outputs[0].token_ids
    edit_config(tmp_path, eos_token_id=[EOS_TOKEN_ID, first_token_id])
    engine, _ = build_engine(tmp_path, EngineConfig(device="cpu"))
    engine.add(request)
    [output] = engine.step().outputs
    assert output.token_ids == []
    assert output.end is not None
    assert output.end.stop_token_id == first_token_id


def test_prompt_that_can_never_fit_is_refused(checkpoint: Callable[[str], Path]) -> None:
    """A small cache shortens the context; a longer prompt hears so at once instead of waiting for ever."""
    config = EngineConfig(device="cpu", kv_memory_bytes=5 * 16 * 3 * 2 * 2 * 16 * 4)
    engine, loaded = build_engine(checkpoint("llama"), config)
    assert loaded.context_length == 64
    sampling = SamplingOptions(max_tokens=500)
    engine.validate(SequenceRequest(key=1, prompt_token_ids=[1] * 63, sampling=sampling))
    with pytest.raises(InvalidArgumentError, match="1 to 63 tokens"):
        engine.validate(SequenceRequest(key=1, prompt_token_ids=[1] * 64, sampling=sampling))


@pytest.mark.parametrize("name", ["max_running_sequences", "max_step_tokens", "block_size"])
def test_setting_that_is_no_size_is_refused(name: str) -> None:
    """At the start, with the setting's name."""
    with pytest.raises(InvalidArgumentError, match=f"{name}: got 0; allowed: at least 1"):
        EngineConfig(**{name: 0})  # type: ignore[arg-type]
