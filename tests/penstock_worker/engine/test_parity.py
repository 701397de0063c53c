"""The engine's greedy output is that of transformers, run unbatched on the same checkpoint."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.checkpoints import FAMILIES, FOREIGN, VOCAB_SIZE, WINDOW
from near_tie import ReferenceModel, assert_greedy_equal
from safetensors.torch import load_file, save_file

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
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


def _small_cache(model_dir: Path, *, num_blocks: int) -> EngineConfig:
    """A KV cache of `num_blocks` blocks of 8 tokens."""
    _, loaded = build_engine(model_dir, EngineConfig(block_size=8))
    kv_memory_bytes = (num_blocks + 1) * loaded.kv_plan.block_bytes
    return EngineConfig(kv_memory_bytes=kv_memory_bytes, max_step_tokens=64, block_size=8)


WAYS: dict[str, Callable[[Path], EngineConfig]] = {
    "batch": lambda _: EngineConfig(),
    "chunked": lambda _: EngineConfig(max_step_tokens=23, max_running_sequences=5, block_size=4),
    "preempted": lambda model_dir: _small_cache(model_dir, num_blocks=40),
}
"""The ways in which the engine may come to the same output."""


@pytest.mark.parametrize("family", [*FAMILIES, *FOREIGN])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_running_equals_transformers(
    family: str, way: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Every family computes what transformers computes: side by side, in chunks, and again after a preemption."""
    engine, _ = build_engine(checkpoint(family), WAYS[way](checkpoint(family)))
    prompts = _prompts(7)
    outputs = _generate(engine, prompts)
    assert {len(output) for output in outputs} == {NUM_TOKENS}
    assert (engine.stats().num_preemptions > 0) == (way == "preempted")
    for prompt, output in zip(prompts, outputs, strict=True):
        assert_greedy_equal(reference(family), prompt, output)


@pytest.mark.parametrize("family", [*FAMILIES, *FOREIGN])
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


@pytest.mark.parametrize(
    "family", ["llama", "mistral_window", "qwen3_moe", "gemma2", "gpt2_odd", "gpt_neox", "falcon", "bloom"]
)
def test_deterministic_mode_equals_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Bits that are always the same must be the right ones, too."""
    engine, _ = build_engine(checkpoint(family), EngineConfig(device="cpu", deterministic=True, max_step_tokens=41))
    prompts = _prompts(4)
    for prompt, output in zip(prompts, _generate(engine, prompts), strict=True):
        assert_greedy_equal(reference(family), prompt, output)


def test_numbers_that_overflow_reach_nobody_else(
    tmp_path: Path, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """A sequence whose keys and values are no numbers fails alone: neighbours and next owners of its blocks do not."""
    model_dir = _with_poisoned_token(checkpoint("llama"), tmp_path)
    engine, _ = build_engine(model_dir, _small_cache(model_dir, num_blocks=24))
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


@pytest.mark.gpu
@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a CUDA device")
@pytest.mark.parametrize("family", [*FAMILIES, *FOREIGN])
def test_cuda_equals_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """The same code on a GPU computes the same."""
    engine, _ = build_engine(checkpoint(family), EngineConfig(device="cuda", dtype="float32"))
    prompts = _prompts(12)
    for prompt, output in zip(prompts, _generate(engine, prompts), strict=True):
        assert_greedy_equal(reference(family), prompt, output, tie_gap=1e-3)
