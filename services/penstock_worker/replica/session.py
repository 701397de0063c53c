"""One gateway's session: what it may have here, what it has, and what it is owed. Synchronous."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from penstock_shared.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    ResourceExhaustedError,
)
from penstock_worker.engine.sequence import SequenceRequest
from penstock_worker.replica.credit import NOTHING, Amount, CreditBudget
from penstock_worker.replica.messages import (
    Credit,
    Demand,
    Outbound,
    SequenceRef,
    Submit,
    SubmitAck,
    SubmitOutcome,
    SubmitResult,
    SubmittedSequence,
)
from penstock_worker.replica.outbox import Outbox

_NO_CREDIT = Credit(0, NOTHING)
_RECONNECT_AFTER_S = 1.0


@dataclass(slots=True, eq=False)
class Placement:
    """A sequence that runs here for a session, until its terminal event.

    Attributes:
        session: whose it is.
        sequence: as submitted.
        charge: what it counts against the session's credit now.
        accepted_ns: when it was accepted, nanoseconds since the epoch.
        first_output_ns: when its first token was handed to the outbox.
        num_output_tokens: tokens made here so far.
        is_closing: it was told to stop; `closing_error` says why where it was not a plain cancel.
    """

    session: "Session"
    sequence: SubmittedSequence
    charge: Amount
    accepted_ns: int
    first_output_ns: int | None = None
    num_output_tokens: int = 0
    is_closing: bool = False
    closing_error: PenstockError | None = None

    @property
    def key(self) -> int:
        """How the engine names it."""
        return self.sequence.request.key


@dataclass(slots=True, eq=False)
class Session:
    """The state of one Session stream.

    Args:
        gateway_id: who is at the other end.
        outbox: what waits to be sent.
        budget: prices work.
        validate: raises InvalidArgumentError, NotFoundError or FailedPreconditionError for what the engine cannot run.
        on_message: called when there is something to send.
        on_end: called once, when the session has ended.
    """

    gateway_id: str
    outbox: Outbox
    budget: CreditBudget
    validate: Callable[[SequenceRequest], None]
    on_message: Callable[[], None]
    on_end: Callable[[], None]
    credit: Credit = _NO_CREDIT
    in_use: Amount = NOTHING
    waiting: Amount = NOTHING
    is_ended: bool = False
    error: PenstockError | None = None
    placements: dict[SequenceRef, Placement] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Session({self.gateway_id!r}, {self.credit}, in_use={self.in_use}, outbox={self.outbox})"

    def send(self, message: Outbound) -> None:
        """Queues a message; nothing, once the session has ended. A reader too far behind is ended."""
        if self.is_ended:
            return
        self.outbox.push(message)
        self.on_message()
        if self.outbox.is_overdue:
            reason = "the session does not read its messages"
            self.end(ResourceExhaustedError(reason, quota="session outbox", retry_after_s=_RECONNECT_AFTER_S))

    def tell_prefix_news(self) -> None:
        """Has the writer ask for what is new in the prefix index."""
        if not self.is_ended:
            self.on_message()

    def end(self, error: PenstockError | None) -> None:
        """Ends the session, for `error` or, where None, because the gateway closed it. The first reason counts."""
        if not self.is_ended:
            self.is_ended = True
            self.error = error
            self.on_end()

    def grant(self, amount: Amount) -> Credit | None:
        """Sets the window; returns the new credit, or None where nothing changes."""
        if amount == self.credit.amount:
            return None
        self.credit = Credit(self.credit.epoch + 1, amount)
        return self.credit

    def demand(self, demand: Demand) -> None:
        """Notes what waits at the gateway."""
        self.waiting = self.budget.waiting(demand.num_sequences, demand.prefill_tokens)

    def submit(self, submit: Submit, *, now_ns: int) -> list[Placement]:
        """Decides on each item, queues the acknowledgement and returns what the engine is to run.

        Raises:
            FailedPreconditionError: the protocol was broken; the session must end.
        """
        if submit.credit_epoch > self.credit.epoch:
            raise FailedPreconditionError(
                f"credit epoch {submit.credit_epoch} was never granted; the last one is {self.credit.epoch}"
            )
        accepted: list[Placement] = []
        results = []
        for sequence in submit.sequences:
            result = self._decide(sequence, submit.credit_epoch, now_ns)
            results.append(result)
            if result.outcome is SubmitOutcome.ACCEPTED:
                accepted.append(self._place(sequence, now_ns))
        self.send(SubmitAck(tuple(results)))
        return accepted

    def cancelled(self, refs: Iterable[SequenceRef]) -> list[Placement]:
        """What is to be stopped of `refs`; unknown ones have just ended."""
        found = (self.placements.get(ref) for ref in refs)
        return [placement for placement in found if placement is not None]

    def release_prefill(self, placement: Placement) -> None:
        """The first token goes out: its prompt no longer counts as prefill."""
        self._release(placement, Amount(prefill_tokens=placement.charge.prefill_tokens))

    def release(self, placement: Placement) -> None:
        """The terminal output goes out: the sequence counts no more."""
        self._release(placement, placement.charge)
        del self.placements[placement.sequence.ref]

    def _decide(self, sequence: SubmittedSequence, epoch: int, now_ns: int) -> SubmitResult:
        ref = sequence.ref
        if ref in self.placements:
            raise FailedPreconditionError(f"{ref} was submitted twice")
        error = sequence.error or self._flaw(sequence, now_ns)
        if error is not None:
            return SubmitResult(ref, SubmitOutcome.REFUSED, error)
        needed = self.in_use + self._charge(sequence)
        if needed.fits(self.credit.amount):
            return SubmitResult(ref, SubmitOutcome.ACCEPTED)
        if epoch == self.credit.epoch:
            raise FailedPreconditionError(f"credit of epoch {epoch} overspent: {needed} of {self.credit.amount}")
        return SubmitResult(ref, SubmitOutcome.OVER_CREDIT)

    def _flaw(self, sequence: SubmittedSequence, now_ns: int) -> PenstockError | None:
        if sequence.deadline_ns is not None and sequence.deadline_ns <= now_ns:
            return DeadlineExceededError("the deadline had passed before the sequence reached the replica")
        try:
            self.validate(sequence.request)
        except (InvalidArgumentError, NotFoundError, FailedPreconditionError) as error:
            return error
        return None

    def _place(self, sequence: SubmittedSequence, now_ns: int) -> Placement:
        placement = Placement(self, sequence, self._charge(sequence), now_ns)
        self.in_use += placement.charge
        self.placements[sequence.ref] = placement
        return placement

    def _charge(self, sequence: SubmittedSequence) -> Amount:
        request = sequence.request
        return self.budget.charge(len(request.prompt_token_ids) + len(request.output_token_ids))

    def _release(self, placement: Placement, amount: Amount) -> None:
        placement.charge -= amount
        self.in_use -= amount
