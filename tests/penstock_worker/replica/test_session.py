"""A session spends no more than its credit, and what ends gives it back."""

import pytest
from fakes.clock import FakeClock

from penstock_shared.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    PenstockError,
    ResourceExhaustedError,
    UnimplementedError,
)
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.replica.credit import NOTHING, Amount, CreditBudget
from penstock_worker.replica.messages import (
    Demand,
    Heartbeat,
    SequenceRef,
    Submit,
    SubmitAck,
    SubmitOutcome,
    SubmittedSequence,
    WorkerState,
)
from penstock_worker.replica.outbox import Outbox
from penstock_worker.replica.prefix_feed import PrefixFeed
from penstock_worker.replica.prefix_journal import PrefixJournal
from penstock_worker.replica.session import Placement, Session

BLOCK_SIZE = 16
NOW_NS = 1_000_000_000
ACCEPTED, OVER_CREDIT, REFUSED = SubmitOutcome.ACCEPTED, SubmitOutcome.OVER_CREDIT, SubmitOutcome.REFUSED


class Ends:
    """Notes that a session has ended."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """One more."""
        self.count += 1


def validate(request: SequenceRequest) -> None:
    """The engine's validation, as far as these tests need it."""
    if not request.prompt_token_ids:
        raise InvalidArgumentError("prompt_token_ids", "0 tokens", "at least 1")


@pytest.fixture
def ends() -> Ends:
    """Counts the ends of `session`."""
    return Ends()


@pytest.fixture
def session(ends: Ends) -> Session:
    """Granted two sequences, 40 prefill tokens and 8 blocks, as epoch 1."""
    budget = CreditBudget(total=Amount(8, 100, 50), floor=NOTHING, block_size=BLOCK_SIZE)
    prefix_feed = PrefixFeed(PrefixJournal(block_size=BLOCK_SIZE, max_changes=1))
    outbox = Outbox(max_cost=20, max_stall_s=5.0, clock=FakeClock(), prefix_feed=prefix_feed)
    prefix_feed.snapshot()
    session = Session("gateway-1", outbox, budget, validate=validate, on_message=lambda: None, on_end=ends)
    session.grant(Amount(2, 40, 8))
    return session


def sequence(
    sequence_id: int,
    *,
    attempt: int = 1,
    num_tokens: int = 10,
    deadline_ns: int | None = None,
    error: PenstockError | None = None,
) -> SubmittedSequence:
    """A sequence with a prompt of `num_tokens`."""
    sampling = SamplingOptions(max_tokens=8)
    request = SequenceRequest(key=sequence_id, prompt_token_ids=(1,) * num_tokens, sampling=sampling)
    ref = SequenceRef(sequence_id, attempt)
    return SubmittedSequence(ref, request, "request", deadline_ns=deadline_ns, error=error)


def submit(session: Session, *sequences: SubmittedSequence, epoch: int = 1) -> list[Placement]:
    """Submits under `epoch`."""
    return session.submit(Submit(epoch, sequences), now_ns=NOW_NS)


def outcomes(session: Session) -> dict[int, SubmitOutcome]:
    """The acknowledgement that waits."""
    numbered = session.outbox.pop()
    assert numbered is not None
    assert isinstance(numbered[1], SubmitAck)
    return {result.ref.sequence_id: result.outcome for result in numbered[1].results}


def test_what_credit_covers_is_accepted_and_charged(session: Session) -> None:
    """The worker's count must be the gateway's."""
    placements = submit(session, sequence(1, num_tokens=10), sequence(2, num_tokens=17))
    assert [placement.key for placement in placements] == [1, 2]
    assert outcomes(session) == {1: ACCEPTED, 2: ACCEPTED}
    assert session.in_use == Amount(2, 27, 2 + 3)


@pytest.mark.parametrize("num_tokens", [1, 40])
def test_overspending_the_current_epoch_ends_the_session(session: Session, num_tokens: int) -> None:
    """A gateway that cannot count would starve the others."""
    with pytest.raises(FailedPreconditionError, match="overspent"):
        submit(session, sequence(1), sequence(2), sequence(3, num_tokens=num_tokens))


def test_each_currency_can_be_overspent(session: Session) -> None:
    """Blocks run out here, with sequences and prefill tokens left."""
    session.grant(Amount(9, 1000, 3))
    with pytest.raises(FailedPreconditionError, match="overspent"):
        submit(session, sequence(1), sequence(2), epoch=2)


def test_work_sent_before_a_smaller_window_arrived_is_given_back(session: Session) -> None:
    """A race of epochs is nobody's fault: what still fits runs, the rest is queued again by the gateway."""
    session.grant(Amount(1, 40, 8))
    assert len(submit(session, sequence(1), sequence(2), epoch=1)) == 1
    assert outcomes(session) == {1: ACCEPTED, 2: OVER_CREDIT}
    assert session.in_use == Amount(1, 10, 2)


def test_an_epoch_that_was_never_granted_is_a_protocol_error(session: Session) -> None:
    """It shows a gateway that mixes up its replicas."""
    with pytest.raises(FailedPreconditionError, match="never granted"):
        submit(session, sequence(1), epoch=2)


def test_a_grant_of_the_same_amount_is_no_new_epoch(session: Session) -> None:
    """Otherwise every step would make messages and races."""
    assert session.grant(Amount(2, 40, 8)) is None
    assert session.credit.epoch == 1


def test_the_first_token_frees_the_prefill_and_the_end_frees_the_rest(session: Session) -> None:
    """Credit comes back as the contract says, and exactly."""
    (placement,) = submit(session, sequence(1))
    session.release_prefill(placement)
    assert session.in_use == Amount(1, 0, 2)
    session.release(placement)
    assert session.in_use == NOTHING
    assert len(submit(session, sequence(2), sequence(3))) == 2


def test_an_end_before_the_first_token_frees_everything(session: Session) -> None:
    """A cancel during prefill must not leak prefill credit."""
    (placement,) = submit(session, sequence(1))
    session.release(placement)
    assert session.in_use == NOTHING


def test_an_unavailable_feature_is_refused_by_name_and_costs_nothing(session: Session) -> None:
    """One bad group must not touch its neighbours."""
    assert submit(session, sequence(1, error=UnimplementedError("adapter")), sequence(2))[0].key == 2
    assert outcomes(session) == {1: REFUSED, 2: ACCEPTED}


def test_what_the_engine_cannot_run_is_refused(session: Session) -> None:
    """It would otherwise fail inside the engine."""
    assert submit(session, sequence(1, num_tokens=0)) == []
    assert outcomes(session) == {1: REFUSED}


def test_work_past_its_deadline_is_refused(session: Session) -> None:
    """It must not cost a step."""
    assert submit(session, sequence(1, deadline_ns=NOW_NS)) == []
    numbered = session.outbox.pop()
    assert numbered is not None
    assert isinstance(numbered[1], SubmitAck)
    assert isinstance(numbered[1].results[0].error, DeadlineExceededError)


def test_submitting_the_same_attempt_twice_is_a_protocol_error(session: Session) -> None:
    """Its outputs could not be told apart."""
    submit(session, sequence(1))
    with pytest.raises(FailedPreconditionError, match="twice"):
        submit(session, sequence(1))


def test_a_new_attempt_runs_beside_the_old_one(session: Session) -> None:
    """A gateway need not wait for the old attempt's end; a cancel of that does not hit the new one."""
    submit(session, sequence(1, attempt=1), sequence(1, attempt=2))
    found = session.cancelled([SequenceRef(1, 1), SequenceRef(1, 3)])
    assert [placement.sequence.ref for placement in found] == [SequenceRef(1, 1)]


def test_demand_is_priced_in_all_currencies(session: Session) -> None:
    """Blocks are not reported, they follow from the tokens."""
    session.demand(Demand(num_sequences=3, prefill_tokens=33))
    assert session.waiting == Amount(3, 33, 3 + 6)


def test_the_first_reason_to_end_counts(session: Session, ends: Ends) -> None:
    """Clean-up after an error must not hide it."""
    session.end(FailedPreconditionError("first"))
    session.end(None)
    assert str(session.error) == "first"
    assert ends.count == 1


def test_an_ended_session_collects_nothing(session: Session) -> None:
    """Nobody will read it."""
    session.end(None)
    session.send(Heartbeat(1, None, None, 0, 0, 0, WorkerState.IDLE))
    assert session.outbox.pop() is None


def test_a_reader_too_far_behind_is_ended(session: Session) -> None:
    """The engine never waits for a reader: the reader goes."""
    for epoch in range(5):
        submit(session, *(sequence(i, num_tokens=0) for i in range(4)))
        assert not session.is_ended, epoch
    submit(session, sequence(1, num_tokens=0))
    assert session.is_ended
    assert isinstance(session.error, ResourceExhaustedError)
