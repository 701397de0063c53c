"""Embeddings: those of transformers' last hidden states, whatever steps the prompt is cut into and who else runs."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import VOCAB_SIZE
from near_tie import ReferenceModel

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.pooling import EmbeddingOptions, Pooling
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest

LENGTHS = (1, 2, 30, 75)


def _prompt(length: int) -> list[int]:
    generator = random.Random(length)
    return [generator.randrange(VOCAB_SIZE) for _ in range(length)]


def _request(key: int, prompt: list[int], pooling: Pooling, *, is_normalized: bool = False) -> SequenceRequest:
    return SequenceRequest(
        key=key,
        prompt_token_ids=prompt,
        sampling=SamplingOptions(max_tokens=1),
        embedding=EmbeddingOptions(pooling, is_normalized),
    )


def _run(engine: Engine) -> list[SequenceOutput]:
    outputs = []
    while engine.has_work:
        outputs += engine.step().outputs
        engine.check_invariants()
    return outputs


def _expected(reference: ReferenceModel, prompt: list[int], pooling: Pooling) -> torch.Tensor:
    hidden = reference.hidden(prompt)
    return hidden.mean(dim=0) if pooling is Pooling.MEAN else hidden[-1]


@pytest.mark.parametrize("family", ["llama", "mistral_window", "qwen2", "qwen3"])
@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("max_step_tokens", [16, 2048])
def test_embedding_equals_transformers(
    family: str,
    pooling: Pooling,
    max_step_tokens: int,
    checkpoint: Callable[[str], Path],
    reference: Callable[[str], ReferenceModel],
) -> None:
    """In chunks or at once, beside one that generates: one output each, with the end, and no token."""
    engine, _ = build_engine(checkpoint(family), EngineConfig(max_step_tokens=max_step_tokens))
    engine.add(SequenceRequest(key=99, prompt_token_ids=_prompt(10), sampling=SamplingOptions(max_tokens=5)))
    for length in LENGTHS:
        engine.add(_request(length, _prompt(length), pooling))
    outputs = {output.key: output for output in _run(engine) if output.key != 99}
    assert sorted(outputs) == sorted(LENGTHS)
    for length, output in outputs.items():
        assert output.token_ids == []
        assert output.end is not None
        assert output.end.reason is FinishReason.STOP
        expected = _expected(reference(family), _prompt(length), pooling)
        torch.testing.assert_close(torch.tensor(output.embedding), expected, atol=1e-4, rtol=0.0)


def test_normalized_embedding_has_length_one(
    checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Dot products of such vectors are cosines."""
    engine, _ = build_engine(checkpoint("llama"), EngineConfig())
    engine.add(_request(1, _prompt(30), Pooling.MEAN, is_normalized=True))
    [output] = _run(engine)
    expected = torch.nn.functional.normalize(_expected(reference("llama"), _prompt(30), Pooling.MEAN), dim=0)
    torch.testing.assert_close(torch.tensor(output.embedding), expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("pooling", Pooling)
def test_embedding_of_a_prompt_computed_before_is_the_same(
    pooling: Pooling, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """The prefix cache has keys and values, and not the vectors that a mean is made of."""
    engine, _ = build_engine(checkpoint("llama"), EngineConfig())
    engine.add(SequenceRequest(key=1, prompt_token_ids=_prompt(75), sampling=SamplingOptions(max_tokens=2)))
    _run(engine)
    engine.add(_request(2, _prompt(75), pooling))
    [output] = _run(engine)
    assert output.end is not None
    assert output.end.cached_prompt_tokens == (0 if pooling is Pooling.MEAN else 64)
    expected = _expected(reference("llama"), _prompt(75), pooling)
    torch.testing.assert_close(torch.tensor(output.embedding), expected, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("pooling", Pooling)
def test_preempted_embedding_begins_anew(
    pooling: Pooling, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """What was added up before the preemption must not count twice."""
    kv_memory_bytes = 21 * 16 * (3 * 2 * 2 * 16 * 4)
    engine, _ = build_engine(checkpoint("llama"), EngineConfig(kv_memory_bytes=kv_memory_bytes, max_step_tokens=32))
    engine.add(_request(1, _prompt(120), pooling))
    assert [engine.step().outputs for _ in range(2)] == [[], []]
    critical = SequenceRequest(
        key=2, prompt_token_ids=_prompt(250), sampling=SamplingOptions(max_tokens=2), criticality=3
    )
    engine.add(critical)
    [output] = [output for output in _run(engine) if output.key == 1]
    assert engine.stats().num_preemptions == 1
    expected = _expected(reference("llama"), _prompt(120), pooling)
    torch.testing.assert_close(torch.tensor(output.embedding), expected, atol=1e-4, rtol=0.0)
