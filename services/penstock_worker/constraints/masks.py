"""The masks of all constrained sequences of an engine, whatever becomes of the process that computes them.

When the process ends, another is started, and every sequence is opened again with its output so far. Which of them
ended the process is known where only one was being worked on. Where there were several, the new process works on one at
a time until all are open: what ended the first process then does so again, alone.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock_shared.constraint import Constraint
from penstock_shared.errors import InternalError, InvalidArgumentError, PenstockError, UnavailableError
from penstock_shared.frames import Frame
from penstock_shared.logs import get_logger
from penstock_worker.constraints.mask_process import MaskLimits, MaskModel, MaskProcess, MaskProcessEndedError
from penstock_worker.constraints.wire import (
    GREETING_KEY,
    MaskState,
    Reply,
    advance_request,
    close_request,
    open_request,
)

# The process itself ends a request that takes too much CPU time. This is for one that it cannot end, and for a machine
# so busy that CPU time does not pass.
_MAX_REQUEST_S = 20.0
_MAX_START_S = 60.0
_MAX_FAILED_STARTS = 3
_RETRY_AFTER_S = 1.0

_log = get_logger("masks")


@dataclass(slots=True)
class _Entry:
    """A constrained sequence.

    Attributes:
        constraint: what it conforms to.
        token_ids: its output, as far as the process has been told or will be.
        state: of its next mask.
        masks: while READY.
        error: where it is FAILED.
        request: what waits to be sent.
        is_known: the process that runs has been told of it.
    """

    constraint: Constraint
    token_ids: list[int]
    state: MaskState = MaskState.PENDING
    masks: bytes = b""
    error: PenstockError | None = None
    request: Frame | None = None
    is_known: bool = False


class ConstraintMasks:
    """Masks by sequence. Belongs to the engine's thread; only `poll` waits, and no longer than it is told to.

    Requests leave with the next `poll`, all in one.

    Args:
        model: what masks are computed for.
        limits: what one sequence may take.
        clock: monotonic seconds.
    """

    def __init__(
        self, model: MaskModel, limits: MaskLimits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._limits = limits or MaskLimits()
        self._clock = clock
        self._process: MaskProcess | None = None
        self._is_ready = False
        self._started_s = 0.0
        self._num_failed_starts = 0
        self._entries: dict[int, _Entry] = {}
        self._unsent: deque[int] = deque()
        self._in_work: dict[int, float] = {}  # since when
        self._has_named_cause = False  # of its end
        self._works_one_by_one = False
        self.num_restarts = 0

    def __repr__(self) -> str:
        return f"ConstraintMasks(sequences={len(self._entries)}, in_work={len(self._in_work)})"

    @property
    def vocab_size(self) -> int:
        """Token ids are below it."""
        return self._model.vocab_size

    @property
    def process_id(self) -> int | None:
        """Of the process, where one runs."""
        return None if self._process is None else self._process.pid

    def open(self, key: int, constraint: Constraint, output_token_ids: list[int]) -> None:
        """A sequence begins, or is resumed after some output."""
        self._entries[key] = _Entry(constraint, output_token_ids)
        self._request_open(key)
        if self._process is None:
            self._start()

    def advance(self, key: int, token_ids: list[int], drafted: Sequence[int] = ()) -> None:
        """Tokens were chosen. The masks that follow are wanted: for the next token, and for those along a draft."""
        entry = self._entries[key]
        entry.token_ids.extend(token_ids)
        self._enqueue(key, advance_request(key, token_ids, list(drafted)))

    def close(self, key: int) -> None:
        """A sequence is over."""
        entry = self._entries.pop(key, None)
        if entry is None or not entry.is_known or self._process is None:
            return
        if entry.state is not MaskState.FAILED:
            self._process.send([close_request(key)])

    def state(self, key: int) -> MaskState:
        """How far a sequence's next mask is."""
        return self._entries[key].state

    def masks(self, key: int) -> bytes:
        """The mask of its next token, then those along the draft, while it is READY; one bit a token id."""
        return self._entries[key].masks

    def failure(self, key: int) -> PenstockError | None:
        """What is wrong, where it is FAILED."""
        return self._entries[key].error

    def poll(self, timeout_s: float) -> None:
        """Sends what is wanted and takes in what was answered; waits only where there is nothing yet."""
        if self._process is None:
            return
        self._send()
        try:
            for reply in self._process.receive(timeout_s):
                self._take(reply)
        except MaskProcessEndedError:
            self._restart()
        else:
            if self._is_overdue():
                self._restart()
        self._send()

    def shut_down(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _request_open(self, key: int) -> None:
        entry = self._entries[key]
        constraint = entry.constraint
        self._enqueue(key, open_request(key, constraint.kind.value, constraint.texts, entry.token_ids))

    def _enqueue(self, key: int, request: Frame) -> None:
        entry = self._entries[key]
        entry.state, entry.masks, entry.request = MaskState.PENDING, b"", request
        self._unsent.append(key)

    def _send(self) -> None:
        """Sends what may be sent now."""
        if self._process is None or not self._is_ready:
            return
        requests: list[Frame] = []
        while self._unsent and not (self._works_one_by_one and self._in_work):
            key = self._unsent.popleft()
            entry = self._entries.get(key)
            if entry is not None and entry.request is not None:
                requests.append(entry.request)
                entry.request, entry.is_known = None, True
                self._in_work[key] = self._clock()
        if requests:
            self._process.send(requests)
        if not self._unsent and not self._in_work:
            self._works_one_by_one = False

    def _take(self, reply: Reply) -> None:
        if reply.key == GREETING_KEY:
            self._is_ready, self._num_failed_starts = True, 0
            return
        self._in_work.pop(reply.key, None)
        state = reply.state
        if state is MaskState.FATAL:
            self._has_named_cause, state = True, MaskState.FAILED
        entry = self._entries.get(reply.key)
        if entry is not None:
            entry.state, entry.masks = state, reply.masks
            entry.error = _refused(entry.constraint, reply.message) if state is MaskState.FAILED else None

    def _is_overdue(self) -> bool:
        now_s = self._clock()
        if not self._is_ready:
            return now_s - self._started_s > _MAX_START_S
        return any(now_s - sent_s > _MAX_REQUEST_S for sent_s in self._in_work.values())

    def _start(self) -> None:
        """Starts a process. Where the machine has no room for one, those that need it fail, and not the replica."""
        try:
            self._process = MaskProcess(self._model, self._limits)
        except OSError as error:
            _log.warning("the mask process cannot be started", error=str(error), sequences=len(self._entries))
            message = f"the process that applies constraints cannot be started: {error}"
            self._fail_going(UnavailableError(message, retry_after_s=_RETRY_AFTER_S))
            return
        self._is_ready = self._has_named_cause = False
        self._started_s = self._clock()

    def _restart(self) -> None:
        """The process has ended, or has to be ended."""
        assert self._process is not None
        self._process.close()
        self._process = None
        _log.warning("the mask process ended", sequences=len(self._entries), in_work=len(self._in_work))
        if len(self._in_work) == 1 and not self._has_named_cause:
            self._convict(next(iter(self._in_work)))
        self._num_failed_starts += not self._is_ready
        self._in_work.clear()
        self._unsent.clear()
        for entry in self._entries.values():
            entry.is_known = False  # to the next process
        self._works_one_by_one = True
        self._reopen()

    def _reopen(self) -> None:
        going = self._going()
        if self._num_failed_starts >= _MAX_FAILED_STARTS:
            self._num_failed_starts = 0
            self._fail_going(InternalError("the process that applies constraints does not start"))
        elif going:
            self.num_restarts += 1
            for key in going:
                self._request_open(key)
            self._start()

    def _going(self) -> list[int]:
        over = (MaskState.COMPLETE, MaskState.FAILED)
        return [key for key, entry in self._entries.items() if entry.state not in over]

    def _fail_going(self, error: PenstockError) -> None:
        for key in self._going():
            self._fail(self._entries[key], error)

    def _convict(self, key: int) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            self._fail(entry, _refused(entry.constraint, "it ended the process that computes its masks"))

    @staticmethod
    def _fail(entry: _Entry, error: PenstockError) -> None:
        entry.state, entry.masks, entry.error, entry.request = MaskState.FAILED, b"", error, None


def _refused(constraint: Constraint, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"request.constraint.{constraint.field}",
        constraint.shown,
        f"what llguidance can compile and follow; it says: {message}",
    )
