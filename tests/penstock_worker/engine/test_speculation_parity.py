"""Speculation changes no output: drafts from a look back or from another model leave a batch what it is without.

The other model is of random weights too, so it is hardly ever right; a copy of the target is nearly always.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.checkpoints import VOCAB_SIZE
from near_tie import ReferenceModel, assert_greedy_equal

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest

NUM_TOKENS = 64
FAMILIES = ["llama", "mistral_window", "qwen2_some_windows", "qwen3", "gemma2"]
_LENGTHS = (1, 5, 70)
# Drafts whether it pays or not: that is another test's matter.
EAGER = EngineConfig(draft_tokens=MAX_DRAFT_TOKENS)


def _prompts() -> list[list[int]]:
    """Random ones, and one that repeats itself."""
    generator = random.Random(3)
    prompts = [[generator.randrange(VOCAB_SIZE) for _ in range(length)] for length in _LENGTHS]
    return [*prompts, prompts[1] * 6]


def _run(engine: Engine, samplings: list[SamplingOptions], prompts: list[list[int]]) -> dict[int, list[SequenceOutput]]:
    outputs: dict[int, list[SequenceOutput]] = {}
    for key, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling, choice_index=key))
    while engine.has_work:
        for output in engine.step().outputs:
            outputs.setdefault(output.key, []).append(output)
        engine.check_invariants()
    return outputs


def _tokens(outputs: list[SequenceOutput]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


def _speculate(kind: str, family: str, checkpoint: Callable[[str], Path]) -> str:
    return {
        "prompt lookup": "prompt-lookup",
        "same model": str(checkpoint(family)),
        "other model": str(checkpoint("llama_tied")),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        *(("prompt lookup", family) for family in FAMILIES),
        ("same model", "llama"),
        ("same model", "gemma2"),
        ("other model", "qwen2_some_windows"),
    ],
)
def test_greedy_output_equals_transformers(
    kind: str, family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Each drafter on each kind of attention."""
    engine, _ = build_engine(checkpoint(family), replace(EAGER, speculate=_speculate(kind, family, checkpoint)))
    prompts = _prompts()
    outputs = _run(engine, [SamplingOptions(max_tokens=NUM_TOKENS)] * len(prompts), prompts)
    for key, prompt in enumerate(prompts):
        assert len(_tokens(outputs[key])) == NUM_TOKENS
        assert_greedy_equal(reference(family), prompt, _tokens(outputs[key]))
    stats = engine.stats()
    assert stats.num_drafted_tokens > 0
    if kind == "same model":
        assert stats.num_accepted_tokens > 0.9 * stats.num_drafted_tokens


SAMPLINGS = [
    SamplingOptions(max_tokens=40, temperature=0.7, top_p=0.9, seed=2, logprobs=2, logit_bias={7: 4.0, 8: -9.0}),
    SamplingOptions(max_tokens=50, temperature=1.0, seed=4, min_tokens=30, stop_token_ids=frozenset(range(60))),
    SamplingOptions(max_tokens=60, temperature=1.5, top_k=20, min_p=0.01, seed=3, repetition_penalty=1.3),
    SamplingOptions(max_tokens=60, presence_penalty=0.7, frequency_penalty=0.4, logprobs=0),
]


@pytest.mark.parametrize("kind", ["prompt lookup", "same model", "other model"])
@pytest.mark.parametrize("num_blocks", [None, 12])
def test_every_sampling_parameter_counts_as_if_token_came_after_token(
    kind: str, num_blocks: int | None, checkpoint: Callable[[str], Path]
) -> None:
    """Seeds, penalties, bias, least and most tokens, stop tokens, log probabilities; also with preemptions."""
    token_bytes = 3 * 2 * 2 * 16 * 4
    num_models = 1 if kind == "prompt lookup" else 2
    kv_bytes = None if num_blocks is None else num_models * (num_blocks + 1) * 16 * token_bytes
    prompts, found = _prompts(), []
    for speculate in ("off", _speculate(kind, "llama", checkpoint)):
        memory = kv_bytes if speculate != "off" or kv_bytes is None else kv_bytes // num_models
        engine, _ = build_engine(checkpoint("llama"), replace(EAGER, speculate=speculate, kv_memory_bytes=memory))
        found.append(_run(engine, SAMPLINGS, prompts))
        assert (num_blocks is not None) == (engine.stats().num_preemptions > 0)
        assert (speculate == "off") == (engine.stats().num_drafted_tokens == 0)
    plain, drafted = found
    for key, outputs in plain.items():
        assert _tokens(drafted[key]) == _tokens(outputs)
        assert drafted[key][-1].end is not None
        assert outputs[-1].end is not None
        assert drafted[key][-1].end.reason is outputs[-1].end.reason
        assert drafted[key][-1].end.stop_token_id == outputs[-1].end.stop_token_id
        _assert_logprobs_equal(outputs, drafted[key])
    assert any(outputs[-1].end and outputs[-1].end.reason is FinishReason.STOP for outputs in plain.values())


def _assert_logprobs_equal(plain: list[SequenceOutput], drafted: list[SequenceOutput]) -> None:
    expected = [entry for output in plain for entry in output.logprobs]
    actual = [entry for output in drafted for entry in output.logprobs]
    assert [entry.token_id for entry in actual] == [entry.token_id for entry in expected]
    assert [entry.logprob for entry in actual] == pytest.approx([entry.logprob for entry in expected], abs=1e-4)


def test_fewer_steps_where_drafts_are_right(checkpoint: Callable[[str], Path]) -> None:
    """What speculation is for: a model that guesses itself makes nine tokens a step."""
    engine, _ = build_engine(checkpoint("llama"), replace(EAGER, speculate=str(checkpoint("llama"))))
    _run(engine, [SamplingOptions(max_tokens=91, temperature=1.0, seed=1)], [[1, 2, 3]])
    assert engine.stats().step == 11


def test_end_tells_of_the_drafts(checkpoint: Callable[[str], Path]) -> None:
    """How speculation fared with a request can be seen on it."""
    engine, _ = build_engine(checkpoint("llama"), replace(EAGER, speculate=str(checkpoint("llama_tied"))))
    outputs = _run(engine, [SamplingOptions(max_tokens=20)], [[1, 2, 3]])
    end, stats = outputs[0][-1].end, engine.stats()
    assert end is not None
    assert (end.num_drafted_tokens, end.num_accepted_tokens) == (stats.num_drafted_tokens, stats.num_accepted_tokens)
    assert end.num_drafted_tokens > 0


def test_draft_of_another_vocabulary_is_refused(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Its token ids would mean something else."""
    with pytest.raises(InvalidArgumentError, match="speculate: got "):
        build_engine(checkpoint("llama"), EngineConfig(speculate=str(tmp_path)))
