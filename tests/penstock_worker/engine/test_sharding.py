"""A model in shards generates what it generates in one piece."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.checkpoints import FAMILIES, VOCAB_SIZE
from fakes.sharded_model import ShardedRunner, sharded_engine
from near_tie import ReferenceModel, assert_greedy_equal

from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest

CONFIG = EngineConfig(device="cpu", dtype="float32")


def _prompts(num_prompts: int) -> list[list[int]]:
    """Random prompts of 1 to 60 tokens."""
    generator = random.Random(6)
    lengths = [generator.randint(1, 60) for _ in range(num_prompts)]
    return [[generator.randrange(VOCAB_SIZE) for _ in range(length)] for length in lengths]


def _generate(engine: Engine, prompts: list[list[int]], num_tokens: int = 24) -> list[list[int]]:
    outputs: list[list[int]] = [[] for _ in prompts]
    for key, prompt in enumerate(prompts):
        sampling = SamplingOptions(max_tokens=num_tokens, ignore_eos=True)
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling))
    while engine.has_work:
        for output in engine.step().outputs:
            outputs[output.key] += output.token_ids
    engine.check_invariants()
    assert {len(output) for output in outputs} == {num_tokens}
    return outputs


@pytest.mark.parametrize(
    ("family", "tensor_parallel", "pipeline_parallel"),
    [
        *((family, *ways) for family in FAMILIES for ways in ((2, 1), (1, 2))),
        *((family, 2, 2) for family in ("llama", "qwen2", "mixtral", "falcon")),
        *((family, 4, 1) for family in ("llama", "falcon", "falcon_new", "phi3", "bloom")),
        *((family, 1, 3) for family in ("gemma2", "gemma3", "qwen3_moe", "qwen2_some_windows")),
        ("qwen2_moe", 3, 3),
    ],
)
def test_every_split_equals_transformers(
    family: str,
    tensor_parallel: int,
    pipeline_parallel: int,
    checkpoint: Callable[[str], Path],
    reference: Callable[[str], ReferenceModel],
) -> None:
    """All families, layers cut and stages, key heads fewer than ranks, parts of unequal size."""
    runner = ShardedRunner(checkpoint(family), CONFIG, tensor_parallel, pipeline_parallel)
    prompts = _prompts(4)
    for prompt, output in zip(prompts, _generate(sharded_engine(runner, CONFIG), prompts), strict=True):
        assert_greedy_equal(reference(family), prompt, output)
