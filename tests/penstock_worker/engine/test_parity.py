"""The engine's greedy output is that of transformers, run unbatched on the same checkpoint."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.checkpoints import FAMILIES, VOCAB_SIZE, WINDOW
from near_tie import ReferenceModel, assert_greedy_equal
from safetensors.torch import load_file, save_file

from penstock_worker.engine.build import EngineConfig, build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest

NUM_TOKENS = 64
POISONED = 9


def _prompts(num_prompts: int) -> list[list[int]]:
    """Random prompts of 1 to 80 tokens; some are longer than the window of the models that have one."""
    generator = random.Random(5)
    lengths = [generator.randint(1, 80) for _ in range(num_prompts)]
    assert max(lengths) > 3 * WINDOW
    return [[generator.randrange(POISONED + 1, VOCAB_SIZE) for _ in range(length)] for length in lengths]


def _generate(engine: Engine, prompts: list[list[int]]) -> list[list[int]]:
    sampling = SamplingOptions(max_tokens=NUM_TOKENS)
    outputs: list[list[int]] = [[] for _ in prompts]
    for key, prompt in enumerate(prompts):
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling))
    while engine.has_work:
        for output in engine.step().outputs:
            outputs[output.key] += output.token_ids
    engine.check_invariants()
    return outputs


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_equals_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Every family computes what its authors' implementation computes, in a batch of different prompts."""
    engine, _ = build_engine(checkpoint(family), EngineConfig())
    prompts = _prompts(12)
    for prompt, output in zip(prompts, _generate(engine, prompts), strict=True):
        assert len(output) == NUM_TOKENS
        assert_greedy_equal(reference(family), prompt, output)


@pytest.mark.parametrize("family", ["llama", "mistral_window", "qwen2_some_windows", "qwen3"])
@pytest.mark.parametrize("block_size", [4, 16])
def test_chunked_prefill_equals_transformers(
    family: str, block_size: int, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """A prompt computed in several steps, beside others that decode, gives the same output."""
    config = EngineConfig(max_step_tokens=23, max_running_sequences=7, block_size=block_size)
    engine, _ = build_engine(checkpoint(family), config)
    prompts = _prompts(12)
    for prompt, output in zip(prompts, _generate(engine, prompts), strict=True):
        assert_greedy_equal(reference(family), prompt, output)


@pytest.mark.parametrize("family", ["llama", "mistral_window"])
def test_preempted_sequences_equal_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """A sequence that loses its blocks and is computed again goes on as if nothing had happened."""
    engine, _ = build_engine(checkpoint(family), _small_cache(family, num_blocks=40))
    prompts = _prompts(12)
    outputs = _generate(engine, prompts)
    assert engine.stats().num_preemptions > 0
    for prompt, output in zip(prompts, outputs, strict=True):
        assert_greedy_equal(reference(family), prompt, output)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_hits_equal_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """What was computed for another prompt, or as another's output, is what would have been computed here."""
    engine, _ = build_engine(checkpoint(family), EngineConfig())
    stem = _prompts(1)[0] * 5
    first = [*stem[:70], 3]
    [answer] = _generate(engine, [first])
    prompts = [[*stem[:70], 4, 5], [*stem[:40], *range(10, 50)], [*first, *answer, 6]]
    outputs = _generate(engine, prompts)
    assert engine.stats().num_prefix_hit_tokens == 64 + 32 + 128
    for prompt, output in zip(prompts, outputs, strict=True):
        assert_greedy_equal(reference(family), prompt, output)


def test_numbers_that_overflow_reach_nobody_else(
    tmp_path: Path, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """A sequence whose keys and values are no numbers fails alone: neighbours and next owners of its blocks do not."""
    engine, _ = build_engine(_with_poisoned_token(checkpoint("llama"), tmp_path), _small_cache("llama", num_blocks=24))
    assert _generate(engine, [[POISONED] * (24 * 8 - 1)]) == [[]]  # fills every block
    prompts = [*_prompts(6), [3, POISONED, 4]]
    *outputs, poisoned_output = _generate(engine, prompts)
    assert poisoned_output == []
    for prompt, output in zip(prompts, outputs, strict=False):
        assert_greedy_equal(reference("llama"), prompt, output)


def _with_poisoned_token(model_dir: Path, copy_dir: Path) -> Path:
    """A copy of the checkpoint in which one token's embedding is not a number."""
    shutil.copytree(model_dir, copy_dir, dirs_exist_ok=True)
    tensors = load_file(copy_dir / "model.safetensors")
    tensors["model.embed_tokens.weight"][POISONED] = float("nan")
    save_file(tensors, copy_dir / "model.safetensors")
    return copy_dir


def _small_cache(family: str, *, num_blocks: int) -> EngineConfig:
    """A KV cache of `num_blocks` blocks of 8 tokens."""
    config = FAMILIES[family]().config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_per_token = config.num_hidden_layers * 2 * config.num_key_value_heads * head_dim * 4
    return EngineConfig(kv_memory_bytes=(num_blocks + 1) * 8 * bytes_per_token, max_step_tokens=64, block_size=8)


@pytest.mark.gpu
@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_equals_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """The same code on a GPU computes the same."""
    engine, _ = build_engine(checkpoint(family), EngineConfig(device="cuda", dtype="float32"))
    prompts = _prompts(12)
    for prompt, output in zip(prompts, _generate(engine, prompts), strict=True):
        assert_greedy_equal(reference(family), prompt, output, tie_gap=1e-3)
