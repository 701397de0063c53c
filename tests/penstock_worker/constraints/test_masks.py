"""The masks of many sequences, and the process that computes them: killed, hung, or asked for what it cannot do."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.hostile_constraints import slow_grammar
from fakes.word_checkpoints import EOS_TOKEN_ID, TOKENIZER_FILE, TOKENIZER_SIZE, VOCAB_SIZE
from tokenizers import Tokenizer

from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.errors import InternalError, InvalidArgumentError, UnavailableError
from penstock_worker.constraints.mask_process import MaskLimits, MaskModel
from penstock_worker.constraints.masks import ConstraintMasks
from penstock_worker.constraints.wire import MaskState

MODEL = MaskModel(TOKENIZER_FILE, VOCAB_SIZE, (EOS_TOKEN_ID,))
DIGITS = Constraint(ConstraintKind.REGEX, ("[0-9]{4}",))
SLOW = slow_grammar(390)
PATIENCE_S = 60.0


@pytest.fixture
def masks() -> Iterator[ConstraintMasks]:
    """A process that may take little CPU time for a mask."""
    made = ConstraintMasks(MODEL, MaskLimits(open_s=0.4, advance_s=0.2))
    yield made
    made.shut_down()


def wait_until(masks: ConstraintMasks, condition: Callable[[], bool]) -> None:
    """Polls, as the engine does, until something is so."""
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s
        masks.poll(0.05)


def wait_for(masks: ConstraintMasks, *keys: int) -> list[MaskState]:
    """How the sequences are when none is pending."""
    wait_until(masks, lambda: all(masks.state(key) is not MaskState.PENDING for key in keys))
    return [masks.state(key) for key in keys]


def test_masks_follow_the_tokens(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """Ids beyond the tokenizer's are never allowed; the last digit completes the grammar."""
    one = tokenizer.encode("1").ids
    masks.open(1, DIGITS, [])
    for _ in range(4):
        assert wait_for(masks, 1) == [MaskState.READY]
        bits = int.from_bytes(masks.masks(1), "little")
        assert bits >> one[0] & 1
        assert not bits >> TOKENIZER_SIZE
        assert not bits >> EOS_TOKEN_ID & 1
        masks.advance(1, one)
    assert wait_for(masks, 1) == [MaskState.COMPLETE]


def test_bad_grammar_fails_alone_with_its_field(masks: ConstraintMasks) -> None:
    """The error is the caller's to mend; the process goes on."""
    masks.open(1, Constraint(ConstraintKind.REGEX, ("(",)), [])
    masks.open(2, DIGITS, [])
    assert wait_for(masks, 1, 2) == [MaskState.FAILED, MaskState.READY]
    error = masks.failure(1)
    assert isinstance(error, InvalidArgumentError)
    assert (error.field, "unclosed group" in error.message) == ("request.constraint.regex", True)
    assert masks.num_restarts == 0


def test_resumed_output_is_followed_and_a_foreign_one_fails(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """A failover continues exactly; it must never continue what is not of the grammar."""
    masks.open(1, DIGITS, tokenizer.encode("12").ids)
    masks.open(2, DIGITS, [])
    masks.open(3, DIGITS, tokenizer.encode("ab").ids)
    assert wait_for(masks, 1, 2, 3) == [MaskState.READY, MaskState.READY, MaskState.FAILED]
    masks.advance(2, tokenizer.encode("1").ids)
    wait_for(masks, 2)
    masks.advance(2, tokenizer.encode("2").ids)
    wait_for(masks, 2)
    assert masks.masks(1) == masks.masks(2)


def test_killed_process_is_replaced_and_every_sequence_goes_on(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """Nobody was being worked on, so nobody is to blame."""
    for key in (1, 2, 3):
        masks.open(key, DIGITS, [])
    wait_for(masks, 1, 2, 3)
    masks.advance(2, tokenizer.encode("123").ids)
    wait_for(masks, 2)
    before = [masks.masks(key) for key in (1, 2, 3)]
    _kill(masks)
    wait_until(masks, lambda: masks.num_restarts == 1)
    assert wait_for(masks, 1, 2, 3) == [MaskState.READY] * 3
    assert [masks.masks(key) for key in (1, 2, 3)] == before
    masks.advance(2, tokenizer.encode("4").ids)
    assert wait_for(masks, 2) == [MaskState.COMPLETE]


def test_slow_mask_fails_its_sequence_and_nobody_else(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """It passes its compilation and its first mask, and then keeps a processor busy until it is ended."""
    masks.open(1, SLOW, [])
    masks.open(2, DIGITS, [])
    assert wait_for(masks, 1, 2) == [MaskState.READY] * 2
    before = masks.masks(2)
    masks.advance(1, tokenizer.encode("0").ids)
    masks.advance(2, tokenizer.encode("0").ids)
    wait_until(masks, lambda: masks.state(2) is MaskState.READY)
    assert masks.state(1) is MaskState.PENDING, "the harmless sequence must not wait for the slow one"
    assert wait_for(masks, 1) == [MaskState.FAILED]
    assert "it takes too much time" in str(masks.failure(1))
    masks.close(1)
    wait_until(masks, lambda: masks.num_restarts == 1)
    assert wait_for(masks, 2) == [MaskState.READY]
    assert masks.masks(2) == before


def test_cause_of_a_death_is_found_among_several(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """The process dies without a word while it works on two: the next one takes them one by one.

    To be opened again has more time than to advance, so a fast machine may make the masks of what was slow.
    """
    zero = tokenizer.encode("0").ids
    for key, constraint in ((1, SLOW), (2, SLOW), (3, DIGITS)):
        masks.open(key, constraint, [])
    wait_for(masks, 1, 2, 3)
    masks.advance(1, zero)
    masks.advance(2, zero)
    _kill(masks)
    *suspects, harmless = wait_for(masks, 1, 2, 3)
    assert harmless is MaskState.READY
    assert MaskState.PENDING not in suspects
    assert masks.num_restarts >= 1


def test_who_was_named_is_to_blame_and_not_who_was_beside(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """The process says for whom it ends itself. The other one is opened again, and fails for its own reason at most."""
    for key in (1, 2):
        masks.open(key, SLOW, [])
    wait_for(masks, 1, 2)
    for key in (1, 2):
        masks.advance(key, tokenizer.encode("0").ids)
    states = wait_for(masks, 1, 2)
    failures = [str(masks.failure(key)) for key, state in zip((1, 2), states, strict=True) if state is MaskState.FAILED]
    assert MaskState.PENDING not in states
    assert failures
    assert all("it takes too much time" in failure for failure in failures)


def test_only_one_that_was_worked_on_is_to_blame(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """What ends the process without a last word, a stack that overflows for example, is not tried again."""
    masks.open(1, SLOW, [])
    masks.open(2, DIGITS, [])
    wait_for(masks, 1, 2)
    masks.advance(1, tokenizer.encode("0").ids)
    _kill(masks)
    assert wait_for(masks, 1, 2) == [MaskState.FAILED, MaskState.READY]
    assert "it ended the process" in str(masks.failure(1))
    assert masks.num_restarts == 1


def test_closed_sequences_leave_nothing_whenever_they_are_closed(masks: ConstraintMasks, tokenizer: Tokenizer) -> None:
    """Before the process has started, while it compiles, while it computes, and after it has failed."""
    masks.open(1, DIGITS, [])
    masks.close(1)
    masks.open(2, DIGITS, [])
    wait_for(masks, 2)
    masks.open(3, DIGITS, [])
    masks.close(3)
    masks.advance(2, tokenizer.encode("1").ids)
    masks.close(2)
    masks.open(4, Constraint(ConstraintKind.REGEX, ("(",)), [])
    wait_for(masks, 4)
    masks.close(4)
    masks.open(5, DIGITS, [])
    assert wait_for(masks, 5) == [MaskState.READY]
    masks.close(5)
    wait_until(masks, lambda: repr(masks) == "ConstraintMasks(sequences=0, in_work=0)")
    assert masks.num_restarts == 0


def test_process_that_never_starts_fails_all_with_our_own_error(tmp_path: Path) -> None:
    """Three times is enough; it is not the caller's mistake."""
    (tmp_path / "tokenizer.json").write_text("{}")
    masks = ConstraintMasks(MaskModel(tmp_path / "tokenizer.json", 10, (1,)))
    masks.open(1, DIGITS, [])
    assert wait_for(masks, 1) == [MaskState.FAILED]
    assert isinstance(masks.failure(1), InternalError)
    assert masks.process_id is None


def test_no_room_for_a_process_fails_who_needs_it_and_who_comes_later_is_served(
    masks: ConstraintMasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full machine must not end the replica, and leaves nobody waiting: at the first start, or at a restart."""
    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", _refuse_process)
        masks.open(1, DIGITS, [])
        assert (masks.state(1), masks.process_id) == (MaskState.FAILED, None)
    masks.open(2, DIGITS, [])
    masks.open(3, DIGITS, [])
    assert wait_for(masks, 2, 3) == [MaskState.READY] * 2
    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", _refuse_process)
        _kill(masks)
        wait_until(masks, lambda: masks.process_id is None)
        assert [masks.state(key) for key in (2, 3)] == [MaskState.FAILED] * 2
    errors = [masks.failure(key) for key in (1, 2, 3)]
    assert [(type(error), error and error.retry_after_s) for error in errors] == [(UnavailableError, 1.0)] * 3
    masks.open(4, DIGITS, [])
    assert wait_for(masks, 4) == [MaskState.READY]


def _refuse_process(*_arguments: object, **_options: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _kill(masks: ConstraintMasks) -> None:
    assert masks.process_id is not None
    os.kill(masks.process_id, signal.SIGKILL)
