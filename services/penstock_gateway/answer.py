"""A running request as its reader sees it."""

from collections.abc import Sequence
from typing import Protocol

from penstock_gateway.events import Delta, Event, Final, Usage
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation
from penstock_gateway.timeline import Timeline


class Answer(Protocol):
    """Events, then the last one."""

    async def next_events(self) -> Sequence[Event]:
        """The next events; empty when all choices have finished.

        Raises:
            PenstockError: the request failed.
        """

    def final(self) -> Final:
        """The last event, when there are no others."""


class GeneratedAnswer:
    """An answer that a replica gives."""

    def __init__(self, generation: Generation, follower: Follower, *, is_streaming: bool) -> None:
        self._generation = generation
        self._follower = follower
        self._is_streaming = is_streaming

    async def next_events(self) -> Sequence[Event]:
        """The next events, as they come."""
        events = await self._follower.buffer.next_events()
        timeline = self._follower.timeline
        if self._is_streaming and timeline.first_sent_ns is None and any(isinstance(each, Delta) for each in events):
            timeline.sent()
        return events

    def final(self) -> Final:
        """Usage and timings."""
        generation = self._generation
        timings = self._follower.timeline.timings()
        return Final(generation.usage(), timings, generation.num_resumed, generation.is_exact)


class FoundAnswer:
    """An answer that is there already."""

    def __init__(self, events: Sequence[Event], usage: Usage, timeline: Timeline, *, is_streaming: bool) -> None:
        self._events = events
        self._usage = usage
        self._timeline = timeline
        self._is_streaming = is_streaming

    async def next_events(self) -> Sequence[Event]:
        """All of it at once, then nothing."""
        events, self._events = self._events, ()
        if self._is_streaming and events:
            self._timeline.sent()
        return events

    def final(self) -> Final:
        """What it cost when it was made, and the time that it took now."""
        return Final(self._usage, self._timeline.timings(), num_resumed=0, is_exact_continuation=True)
