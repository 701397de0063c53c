"""Deadlines: one instant that a request and everything it calls must meet."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class HasTimeRemaining(Protocol):
    """The part of a gRPC servicer context that tells the client's deadline."""

    def time_remaining(self) -> float | None:
        """Seconds left, or None where the client set no deadline."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant of the monotonic clock, in seconds."""

    at_monotonic_s: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """The instant `seconds` from now."""
        return cls(clock() + seconds, clock)

    @classmethod
    def from_context(
        cls, context: HasTimeRemaining, maximum_s: float, clock: Callable[[], float] = time.monotonic
    ) -> "Deadline":
        """The client's deadline, or `maximum_s` from now where that is earlier."""
        remaining = context.time_remaining()
        return cls.after(maximum_s if remaining is None else min(remaining, maximum_s), clock)

    def remaining_s(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at_monotonic_s - self.clock())

    def timeout_s(self, margin_s: float = 0.0) -> float:
        """The timeout for an outbound call that leaves `margin_s` to answer; at least a millisecond."""
        return max(0.001, self.remaining_s() - margin_s)

    @property
    def has_passed(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s() <= 0
