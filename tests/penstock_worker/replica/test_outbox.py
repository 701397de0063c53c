"""The outbox loses nothing, keeps order where it matters, and knows when a reader is gone."""

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.engine.sequence import FinishReason, TokenLogprobs, TopLogprob
from penstock_worker.replica.credit import Amount
from penstock_worker.replica.messages import (
    Credit,
    End,
    Heartbeat,
    Outbound,
    Output,
    PrefixEvents,
    SequenceRef,
    Step,
    SubmitAck,
    SubmitOutcome,
    SubmitResult,
    WorkerState,
)
from penstock_worker.replica.outbox import Outbox
from penstock_worker.replica.prefix_feed import PrefixFeed
from penstock_worker.replica.prefix_journal import PrefixJournal

A, B = SequenceRef(1, 1), SequenceRef(2, 1)
STOPPED = End(FinishReason.STOP)


@pytest.fixture
def clock() -> FakeClock:
    """Stands still unless moved."""
    return FakeClock()


@pytest.fixture
def outbox(clock: FakeClock) -> Outbox:
    """Small enough to overflow."""
    return Outbox(
        max_cost=10, max_stall_s=5.0, clock=clock, prefix_feed=feed(PrefixJournal(block_size=16, max_changes=9))
    )


def feed(journal: PrefixJournal) -> PrefixFeed:
    """Of a session whose Hello has gone out: two blocks a message."""
    made = PrefixFeed(journal, max_message_hashes=2)
    made.snapshot()
    return made


def heartbeat(engine_step: int) -> Heartbeat:
    """A heartbeat told apart by its step."""
    return Heartbeat(engine_step, None, None, 0, 0, 0, WorkerState.IDLE)


def drained(outbox: Outbox) -> list[Outbound]:
    """All that waits, after a check that `seq` has no gap."""
    messages = []
    while (numbered := outbox.pop()) is not None:
        messages.append(numbered)
    assert [seq for seq, _ in messages] == list(range(messages[0][0], messages[0][0] + len(messages)))
    return [message for _, message in messages]


def test_messages_are_numbered_from_one_without_gaps(outbox: Outbox) -> None:
    """A gap is how a gateway notices a bug: merging must not make one."""
    outbox.push(heartbeat(1))
    outbox.push(heartbeat(2))
    assert outbox.pop() == (1, heartbeat(2))
    outbox.push(heartbeat(3))
    assert outbox.pop() == (2, heartbeat(3))
    assert outbox.pop() is None


def test_steps_of_a_slow_reader_become_one(outbox: Outbox) -> None:
    """Every token arrives once and in order, under the number of the last step."""
    outbox.push(Step(1, 0.1, (Output(A, (7,)), Output(B, (8,)))))
    outbox.push(Step(2, 0.2, (Output(A, (9,), end=STOPPED),)))
    assert drained(outbox) == [Step(2, 0.2, (Output(A, (7, 9), end=STOPPED), Output(B, (8,))))]


def test_an_acknowledgement_leaves_before_the_output_it_belongs_to(outbox: Outbox) -> None:
    """A gateway must never see tokens of a sequence that it does not know to be accepted."""
    outbox.push(Step(1, 0.1, (Output(A, (7,)),)))
    outbox.push(SubmitAck((SubmitResult(B, SubmitOutcome.ACCEPTED),)))
    outbox.push(Step(2, 0.1, (Output(B, (8,)),)))
    assert [type(message) for message in drained(outbox)] == [SubmitAck, Step]


def test_credit_leaves_after_the_outputs_that_freed_it(outbox: Outbox) -> None:
    """A smaller window must not overtake the end that made it smaller; of several the last one counts."""
    outbox.push(Credit(2, Amount(1, 1, 1)))
    outbox.push(Step(1, 0.1, (Output(A, end=STOPPED),)))
    outbox.push(Credit(3, Amount(2, 2, 2)))
    assert drained(outbox) == [Step(1, 0.1, (Output(A, end=STOPPED),)), Credit(3, Amount(2, 2, 2))]


def test_acknowledgements_add_up(outbox: Outbox) -> None:
    """Each submitted item is answered, however slow the reader."""
    first, second = SubmitResult(A, SubmitOutcome.ACCEPTED), SubmitResult(B, SubmitOutcome.OVER_CREDIT)
    outbox.push(SubmitAck((first,)))
    outbox.push(SubmitAck((second,)))
    assert drained(outbox) == [SubmitAck((first, second))]


def test_unread_tokens_make_it_overdue_and_reading_mends_it(outbox: Outbox) -> None:
    """The bound counts what waits, merged or not."""
    for step in range(10):
        outbox.push(Step(step, 0.1, (Output(A, (step,)),)))
        assert not outbox.is_overdue
    outbox.push(Step(10, 0.1, (Output(A, (10,)),)))
    assert outbox.is_overdue
    outbox.pop()
    assert not outbox.is_overdue


def test_log_probabilities_count(outbox: Outbox) -> None:
    """They are most of the bytes."""
    top = tuple(TopLogprob(token_id, -1.0) for token_id in range(10))
    outbox.push(Step(1, 0.1, (Output(A, (7,), (TokenLogprobs(7, -0.5, top),)),)))
    assert outbox.is_overdue


def test_unread_acknowledgements_count(outbox: Outbox) -> None:
    """A gateway that submits and never reads is bounded too."""
    results = tuple(SubmitResult(SequenceRef(i, 1), SubmitOutcome.OVER_CREDIT) for i in range(11))
    outbox.push(SubmitAck(results))
    assert outbox.is_overdue


def test_a_reader_that_takes_nothing_for_too_long_is_overdue(outbox: Outbox, clock: FakeClock) -> None:
    """A hung gateway with little to read must not hold its sequences for ever."""
    outbox.push(heartbeat(1))
    clock.advance(4.0)
    outbox.push(heartbeat(2))
    assert not outbox.is_overdue
    clock.advance(2.0)
    assert outbox.is_overdue


def test_an_empty_outbox_is_never_overdue(outbox: Outbox, clock: FakeClock) -> None:
    """Having nothing to say is no fault of the reader."""
    outbox.push(heartbeat(1))
    outbox.pop()
    clock.advance(100.0)
    assert not outbox.is_overdue
    outbox.push(heartbeat(2))
    assert not outbox.is_overdue


@given(st.lists(st.one_of(st.none(), st.tuples(st.sampled_from([A, B]), st.integers(0, 99))), max_size=60))
def test_whatever_the_reader_does_each_sequence_gets_its_tokens_once_and_in_order(
    script: list[tuple[SequenceRef, int] | None],
) -> None:
    """Merging is invisible to whoever joins the outputs. None is a read, the rest are tokens."""
    journal = PrefixJournal(block_size=16, max_changes=9)
    outbox = Outbox(max_cost=1000, max_stall_s=1.0, clock=FakeClock(), prefix_feed=feed(journal))
    sent: dict[SequenceRef, list[int]] = {A: [], B: []}
    got: dict[SequenceRef, list[int]] = {A: [], B: []}

    def read() -> bool:
        numbered = outbox.pop()
        for output in numbered[1].outputs if numbered and isinstance(numbered[1], Step) else ():
            got[output.ref].extend(output.token_ids)
        return numbered is not None

    for number, item in enumerate(script):
        if item is None:
            read()
        else:
            sent[item[0]].append(item[1])
            outbox.push(Step(number, 0.0, (Output(item[0], (item[1],)),)))
    while read():
        pass
    assert got == sent


def test_prefix_news_comes_last_and_as_often_as_the_reader_asks(clock: FakeClock) -> None:
    """Tokens never wait for it; and what has changed meanwhile is told together."""
    journal = PrefixJournal(block_size=16, max_changes=9)
    outbox = Outbox(max_cost=10, max_stall_s=5.0, clock=clock, prefix_feed=feed(journal))
    journal.take([PrefixChange(b"a", is_stored=True)])
    outbox.push(heartbeat(1))
    journal.take([PrefixChange(b"b", is_stored=True)])
    told = PrefixEvents(1, (PrefixChange(b"a", is_stored=True), PrefixChange(b"b", is_stored=True)))
    assert drained(outbox) == [heartbeat(1), told]
    assert outbox.pop() is None
