"""What a request's client has not been sent yet."""

import asyncio
from collections.abc import Callable, Sequence

from penstock_gateway.events import Delta, Event, PromptLogprobs, TokenLogprobs
from penstock_shared.errors import PenstockError

_BYTES_PER_TOKEN_ID = 4
_BYTES_PER_LOGPROB = 16


class AnswerBuffer:
    """Stands between the replica's events and one reader. Output that is not read at once is merged, choice by choice.

    Args:
        is_streaming: wake the reader at every event; else only at the end, with everything.
        max_bytes: more unread output than this (about) is an overflow. A stream may have one event of prompt log
            probabilities more: thousands of tokens come at once, however fast the reader is.
        on_overflow: told once; it is to end the request.
    """

    def __init__(self, *, is_streaming: bool, max_bytes: int, on_overflow: Callable[[], None]) -> None:
        self._is_streaming = is_streaming
        self._max_bytes = max_bytes
        self._on_overflow = on_overflow
        self._events: list[Event] = []
        self._growing: dict[int, Delta] = {}
        self._num_bytes = 0
        self._largest_scores_bytes = 0
        self._is_closed = False
        self._error: PenstockError | None = None
        self._reader: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"AnswerBuffer(events={len(self._events)}, bytes={self._num_bytes}, is_closed={self._is_closed})"

    def put(self, event: Event) -> None:
        """Takes the next event. Ignored after `close`."""
        if self._is_closed:
            return
        self._add(event)
        if self._num_bytes > self._max_bytes + (self._largest_scores_bytes if self._is_streaming else 0):
            self._on_overflow()
        if self._is_streaming:
            self._wake()

    def put_earlier(self, events: Sequence[Event]) -> None:
        """Takes what there was before the reader came. However much: a reader that streams is not late with it."""
        for event in events:
            self._add(event)
        if self._is_streaming:
            self._num_bytes = 0

    def close(self, error: PenstockError | None = None) -> None:
        """Ends the answer, for good with None. Only the first call counts."""
        if self._is_closed:
            return
        self._is_closed = True
        self._error = error
        self._wake()

    async def next_events(self) -> list[Event]:
        """All events there are; waits for one. Empty at the end of a good answer.

        Raises:
            PenstockError: the answer was closed with it. A stream's events before it are read first.
        """
        while not self._is_closed and not (self._is_streaming and self._events):
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        events, self._events = self._events, []
        self._growing.clear()
        self._num_bytes = 0
        if self._error is not None and not (events and self._is_streaming):
            raise self._error
        return events

    def _add(self, event: Event) -> None:
        if isinstance(event, Delta):
            self._add_delta(event)
        else:
            self._events.append(event)
        self._num_bytes += _size(event)
        if isinstance(event, PromptLogprobs):
            self._largest_scores_bytes = max(self._largest_scores_bytes, _size(event))

    def _add_delta(self, delta: Delta) -> None:
        growing = self._growing.get(delta.choice)
        if growing is None:
            self._growing[delta.choice] = delta
            self._events.append(delta)
        else:
            growing.text += delta.text
            growing.token_ids += delta.token_ids
            growing.logprobs += delta.logprobs

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _size(event: Event) -> int:
    """About what an event takes; those that come once and are small count nothing."""
    if isinstance(event, PromptLogprobs):
        return _logprob_bytes(event.tokens)
    if isinstance(event, Delta):
        return len(event.text) + _BYTES_PER_TOKEN_ID * len(event.token_ids) + _logprob_bytes(event.logprobs)
    return 0


def _logprob_bytes(tokens: Sequence[TokenLogprobs]) -> int:
    return _BYTES_PER_LOGPROB * sum(1 + len(token.top) for token in tokens)
