"""The engine's promises to the one who drives it: ends, cancels, failures, counters."""

import itertools
import math

import pytest
import torch
from fakes.paged_runner import PagedRunner, next_token_id

from penstock_shared.errors import InternalError
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.engine import Engine, StepRunner
from penstock_worker.engine.model_runner import StepLogits
from penstock_worker.engine.plan import StepPlan
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.engine.validation import EngineLimits

VOCAB_SIZE = 29
LIMITS = EngineLimits(max_running_sequences=4, max_step_tokens=32, context_length=64, block_size=4, num_blocks=32)


def _engine(runner: StepRunner | None = None, *, eos_token_ids: frozenset[int] = frozenset()) -> Engine:
    """An engine whose clock counts its readings."""
    pool = BlockPool(LIMITS.num_blocks, LIMITS.block_size)
    return Engine(
        scheduler=Scheduler(
            pool, max_running_sequences=LIMITS.max_running_sequences, max_step_tokens=LIMITS.max_step_tokens
        ),
        runner=runner or PagedRunner(vocab_size=VOCAB_SIZE, block_size=LIMITS.block_size),
        sampler=Sampler(),
        limits=LIMITS,
        vocab_size=VOCAB_SIZE,
        eos_token_ids=eos_token_ids,
        clock_ns=itertools.count(1).__next__,
    )


def _request(key: int, prompt: list[int], *, output: list[int] | None = None, **sampling: object) -> SequenceRequest:
    options = SamplingOptions(**({"max_tokens": 5} | sampling))  # type: ignore[arg-type]
    return SequenceRequest(key=key, prompt_token_ids=prompt, output_token_ids=output or [], sampling=options)


def _run(engine: Engine) -> list[SequenceOutput]:
    outputs = []
    while engine.has_work:
        outputs += engine.step().outputs
        engine.check_invariants()
    return outputs


def _token_ids(outputs: list[SequenceOutput], key: int) -> list[int]:
    return [token_id for output in outputs if output.key == key for token_id in output.token_ids]


def _continuation(prompt: list[int], num_tokens: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(next_token_id(tokens, VOCAB_SIZE))
    return tokens[len(prompt) :]


def test_max_tokens_ends_with_length() -> None:
    """Exactly that many tokens, the end in the same event as the last of them."""
    engine = _engine()
    engine.add(_request(1, [1, 2], max_tokens=3))
    outputs = _run(engine)
    assert _token_ids(outputs, 1) == _continuation([1, 2], 3)
    assert [output.end.reason if output.end else None for output in outputs] == [None, None, FinishReason.LENGTH]


def test_context_length_ends_with_length() -> None:
    """Prompt and output together fill the context and no more."""
    engine = _engine()
    engine.add(_request(1, [3] * 60, max_tokens=1000))
    assert len(_token_ids(_run(engine), 1)) == 4


@pytest.mark.parametrize("is_eos", [True, False])
def test_stop_token_is_reported_and_not_part_of_the_output(is_eos: bool) -> None:
    """EOS and stop tokens end alike: named in the end, absent from the tokens, uncounted."""
    expected = _continuation([1, 2], 4)
    assert len(set(expected)) == 4
    ending = frozenset({expected[2]})
    engine = _engine(eos_token_ids=ending if is_eos else frozenset())
    engine.add(_request(1, [1, 2], stop_token_ids=frozenset() if is_eos else ending))
    outputs = _run(engine)
    assert _token_ids(outputs, 1) == expected[:2]
    end = outputs[-1].end
    assert end is not None
    assert (end.reason, end.stop_token_id) == (FinishReason.STOP, expected[2])
    assert engine.stats().num_generated_tokens == 2


def test_ignored_eos_is_an_ordinary_token() -> None:
    """The sequence goes on and the token is part of the output."""
    expected = _continuation([1, 2], 4)
    engine = _engine(eos_token_ids=frozenset({expected[2]}))
    engine.add(_request(1, [1, 2], max_tokens=4, ignore_eos=True))
    assert _token_ids(_run(engine), 1) == expected


def test_resumed_sequence_goes_on_where_it_stopped() -> None:
    """Tokens that came with the request count towards max_tokens and are not given out again."""
    expected = _continuation([1, 2], 5)
    engine = _engine()
    engine.add(_request(1, [1, 2], output=expected[:3], max_tokens=5))
    assert _token_ids(_run(engine), 1) == expected[3:]


def test_sequence_resumed_after_its_last_token_ends_at_once() -> None:
    """Its end was lost with the replica that made its tokens: it is still owed exactly one."""
    engine = _engine()
    engine.add(_request(1, [1, 2], output=[4, 4], max_tokens=2))
    assert engine.has_work
    [output] = engine.step().outputs
    assert output.token_ids == []
    assert output.end is not None
    assert output.end.reason is FinishReason.LENGTH
    assert not engine.has_work


def test_cancelled_sequence_is_gone_at_once() -> None:
    """No later output, no later work, its blocks free: waiting, running, or owed nothing but its end."""
    engine = _engine()
    for key in range(6):
        engine.add(_request(key, [1, key]))
    engine.add(_request(6, [1], output=[4] * 5))
    engine.step()
    assert (engine.stats().num_running, engine.stats().num_waiting) == (4, 2)
    engine.add(_request(7, [1], output=[4] * 5))
    assert [engine.cancel(key) for key in (0, 5, 7)] == [True, True, True]
    engine.check_invariants()
    assert engine.stats().num_free_blocks == LIMITS.num_blocks - 3
    assert {output.key for output in _run(engine)} == {1, 2, 3, 4}
    assert engine.stats().num_free_blocks == LIMITS.num_blocks


def test_cancel_of_the_unknown_is_told() -> None:
    """A cancel that crosses the end on its way is normal."""
    engine = _engine()
    engine.add(_request(1, [1], max_tokens=1))
    _run(engine)
    assert not engine.cancel(1)
    assert not engine.cancel(2)


def test_key_in_use_is_refused() -> None:
    """Two sequences of one key could not be told apart."""
    engine = _engine()
    engine.add(_request(1, [1]))
    with pytest.raises(ValueError, match="key 1 is in use"):
        engine.add(_request(1, [2]))


def test_failed_step_ends_what_runs_and_nothing_else() -> None:
    """What ran ends with an error; what waited runs next, and the engine is as good as new."""
    runner = PagedRunner(vocab_size=VOCAB_SIZE, block_size=LIMITS.block_size)
    engine = _engine(runner)
    for key in range(6):
        engine.add(_request(key, [1, key]))
    runner.num_failures = 1
    failed = engine.step().outputs
    engine.check_invariants()
    assert [output.key for output in failed] == [0, 1, 2, 3]
    for output in failed:
        assert output.end is not None
        assert output.end.reason is FinishReason.ERROR
        assert isinstance(output.end.error, InternalError)
        assert "fire" not in output.end.error.message
    outputs = _run(engine)
    assert _token_ids(outputs, 4) == _continuation([1, 4], 5)
    assert engine.stats().num_free_blocks == LIMITS.num_blocks


class OverflowingRunner(PagedRunner):
    """A model whose logits overflow for one token."""

    def run(self, plan: StepPlan) -> StepLogits:
        """Computes the plan's chunks; no logit of a sequence that ends with token 9 is a number."""
        values = super().run(plan).values
        is_bad = torch.tensor([chunk.token_ids[-1] == 9 for chunk in plan.chunks if chunk.num_logits_rows])
        values[is_bad] = math.nan
        return StepLogits(values)


def test_failed_sequence_fails_alone() -> None:
    """One sequence that the model cannot compute must not touch its neighbours."""
    engine = _engine(OverflowingRunner(vocab_size=VOCAB_SIZE, block_size=LIMITS.block_size))
    for key, prompt in enumerate(([1, 2], [1, 9], [3, 4])):
        engine.add(_request(key, prompt, max_tokens=1))
    outputs = {output.key: output for output in _run(engine)}
    assert [outputs[key].token_ids for key in (0, 2)] == [_continuation([1, 2], 1), _continuation([3, 4], 1)]
    end = outputs[1].end
    assert end is not None
    assert (end.reason, isinstance(end.error, InternalError)) == (FinishReason.ERROR, True)


def test_times_are_stamped_once() -> None:
    """Queued when added, prefill at the first step that computes it, first token at that step's end."""
    engine = _engine()
    engine.add(_request(1, [1] * 40, max_tokens=3))
    queued_ns = 1
    engine.step()
    end = _run(engine)[-1].end
    assert end is not None
    assert end.queued_ns == queued_ns
    assert (end.prefill_start_ns, end.first_token_ns) == (2, 6)


def test_step_counts_and_measures() -> None:
    """The replica tells progress by them."""
    engine = _engine()
    engine.add(_request(1, [1] * 40, max_tokens=3))
    first, second = engine.step(), engine.step()
    assert (first.step, first.num_sequences, first.outputs) == (1, 1, [])
    assert (second.step, len(second.outputs)) == (2, 1)
    assert first.duration_s > 0
    assert engine.stats().step == 2
