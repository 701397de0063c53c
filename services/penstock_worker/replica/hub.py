"""All sessions of a replica around its one engine: who gets which output, who may submit how much. Synchronous."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from penstock_shared.errors import (
    FailedPreconditionError,
    PenstockError,
    ResourceExhaustedError,
    UnavailableError,
)
from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.replica.credit import NOTHING, CreditBudget
from penstock_worker.replica.engine_loop import CancelReport, CrashReport, EngineLoop, Report, StepReport
from penstock_worker.replica.messages import (
    CONTRACT_VERSION,
    Cancel,
    Demand,
    Draining,
    Heartbeat,
    Hello,
    Identity,
    Inbound,
    Limits,
    Open,
    ResendPrefixIndex,
    Submit,
    WorkerState,
)
from penstock_worker.replica.outbox import Outbox
from penstock_worker.replica.prefix_feed import PrefixFeed
from penstock_worker.replica.prefix_journal import PrefixJournal
from penstock_worker.replica.running import RunningSequences
from penstock_worker.replica.session import Session
from penstock_worker.replica.stats import Stats

MAX_SESSIONS = 64
_RETRY_AFTER_S = 1.0


class SessionHub:
    """Everything that happens between the Session streams and the engine.

    Belongs to one event loop; the engine's reports are to be posted into it.

    Args:
        identity: stated to every session.
        engine: the engine's thread.
        sequences: those that run on it.
        new_outbox: makes a session's outbox.
        on_crash: called when the engine is beyond use, after all sessions have been ended.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        engine: EngineLoop,
        sequences: RunningSequences,
        new_outbox: Callable[[PrefixFeed], Outbox],
        on_crash: Callable[[Exception], None],
    ) -> None:
        self.identity = identity
        self._engine = engine
        self._new_outbox = new_outbox
        self._sequences = sequences
        self._on_crash = on_crash
        self._budget = CreditBudget.for_engine(engine.limits)
        self._journal = PrefixJournal(block_size=engine.limits.block_size, max_changes=engine.limits.num_blocks)
        self._sessions: list[Session] = []
        self._is_draining = False
        self._announced = WorkerState.IDLE

    def __repr__(self) -> str:
        return f"SessionHub(sessions={len(self._sessions)}, sequences={len(self._sequences)})"

    def open(self, opening: Open, *, on_message: Callable[[], None], on_end: Callable[[], None]) -> Session:
        """Admits a gateway; its Hello is waiting in the outbox.

        Raises:
            FailedPreconditionError: it speaks another contract version or encodes with another tokenizer.
            ResourceExhaustedError: there are too many sessions.
            UnavailableError: the replica is shutting down.
        """
        self._check_opening(opening)
        session = Session(
            opening.gateway_id,
            self._new_outbox(PrefixFeed(self._journal)),
            self._budget,
            validate=self._engine.validate,
            on_message=on_message,
            on_end=on_end,
        )
        self._sessions.append(session)
        changed = self._regrant()
        session.send(self._hello(session))
        _send_credit(other for other in changed if other is not session)
        return session

    def close(self, session: Session) -> None:
        """Forgets a session and stops what it has here."""
        session.end(None)
        self._sessions.remove(session)
        for placement in session.placements.values():
            self._sequences.stop(placement)
        _send_credit(self._regrant())

    def receive(self, session: Session, message: Inbound) -> None:
        """Acts on a message.

        Raises:
            FailedPreconditionError: it breaks the protocol; the session is to end with this error.
        """
        match message:
            case Submit():
                for placement in session.submit(message, now_ns=time.time_ns()):
                    self._sequences.start(placement)
            case Cancel():
                for placement in session.cancelled(message.refs):
                    self._sequences.stop(placement)
            case Demand():
                session.demand(message)
                _send_credit(self._regrant())
            case ResendPrefixIndex():
                session.outbox.prefix_feed.restart()
                session.tell_prefix_news()
            case Open():
                raise FailedPreconditionError("the session is open already")
            case _:
                assert_never(message)
        self._announce_state()

    def on_report(self, report: Report) -> None:
        """Acts on what the engine did."""
        match report:
            case StepReport():
                if self._sequences.deliver_step(report):
                    _send_credit(self._regrant())
                self._tell_prefix_changes(report.result.prefix_changes)
            case CancelReport():
                self._sequences.deliver_cancels(report)
                _send_credit(self._regrant())
            case CrashReport():
                self._end_sessions(UnavailableError("the engine failed", retry_after_s=_RETRY_AFTER_S))
                self._on_crash(report.error)
            case _:
                assert_never(report)
        self._announce_state()

    def beat(self) -> None:
        """Sends every session a heartbeat; ends those that do not read."""
        heartbeat = self._heartbeat()
        for session in self._sessions:
            session.send(heartbeat)

    def start_drain(self, finish_by_ns: int) -> None:
        """Grants nothing any more. What runs goes on."""
        self._is_draining = True
        _send_credit(self._regrant())
        for session in self._sessions:
            session.send(Draining(finish_by_ns))
        self._announce_state()

    def end_sessions(self) -> None:
        """Ends every session: the replica is shutting down."""
        self._end_sessions(UnavailableError("the replica is shutting down", retry_after_s=_RETRY_AFTER_S))

    def stats(self) -> Stats:
        """The counters now."""
        return Stats.now(self._engine, self._sequences, len(self._sessions))

    def _check_opening(self, opening: Open) -> None:
        if self._is_draining:
            raise UnavailableError("the replica is shutting down", retry_after_s=_RETRY_AFTER_S)
        if opening.contract_version != CONTRACT_VERSION:
            raise FailedPreconditionError(
                f"the gateway speaks contract version {opening.contract_version}, this replica {CONTRACT_VERSION}"
            )
        if opening.tokenizer_fingerprint != self.identity.tokenizer_fingerprint:
            raise FailedPreconditionError(
                f"the gateway encodes with tokenizer {opening.tokenizer_fingerprint or '(none)'},"
                f" this replica's model needs {self.identity.tokenizer_fingerprint}"
            )
        if len(self._sessions) >= MAX_SESSIONS:
            message = f"there are {MAX_SESSIONS} sessions already"
            raise ResourceExhaustedError(message, quota="sessions", retry_after_s=_RETRY_AFTER_S)

    def _hello(self, session: Session) -> Hello:
        has_index = self._engine.limits.has_prefix_cache
        prefix_index = session.outbox.prefix_feed.snapshot() if has_index else None
        return Hello(self.identity, self._limits(), session.credit, prefix_index)

    def _tell_prefix_changes(self, changes: Sequence[PrefixChange]) -> None:
        self._journal.take(changes)
        for session in self._sessions if changes else ():
            session.tell_prefix_news()

    def _regrant(self) -> list[Session]:
        """Shares the credit out anew; returns the sessions whose window has changed."""
        amounts = [NOTHING] * len(self._sessions)
        if not self._is_draining:
            in_use = [session.in_use for session in self._sessions]
            amounts = self._budget.apportion(in_use, [session.waiting for session in self._sessions])
        pairs = zip(self._sessions, amounts, strict=True)
        return [session for session, amount in pairs if session.grant(amount)]

    def _end_sessions(self, error: PenstockError) -> None:
        for session in self._sessions:
            session.end(error)

    def _state(self) -> WorkerState:
        if self._is_draining:
            return WorkerState.DRAINING
        return WorkerState.BUSY if self._sequences else WorkerState.IDLE

    def _announce_state(self) -> None:
        """Sends a heartbeat out of turn where the state has changed."""
        state = self._state()
        if state is not self._announced:
            self._announced = state
            self.beat()

    def _heartbeat(self) -> Heartbeat:
        age_s, stats = self._engine.step_age_s, self._engine.stats
        return Heartbeat(
            engine_step=self._engine.engine_step,
            step_age_s=age_s,
            predicted_step_s=None if age_s is None else self._engine.predicted_step_s,
            num_running=stats.num_running,
            num_waiting=stats.num_waiting,
            num_free_blocks=stats.num_free_blocks,
            state=self._state(),
        )

    def _limits(self) -> Limits:
        limits = self._engine.limits
        return Limits(
            max_running_sequences=limits.max_running_sequences,
            max_step_tokens=limits.max_step_tokens,
            context_length=limits.context_length,
            block_size=limits.block_size,
            num_kv_blocks=limits.num_blocks,
        )


def _send_credit(sessions: Iterable[Session]) -> None:
    for session in sessions:
        session.send(session.credit)
