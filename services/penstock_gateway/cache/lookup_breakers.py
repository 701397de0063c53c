"""What of a lookup is left out while the cache keeps failing: all of it, or the comparison by meaning alone."""

import enum
from collections.abc import Callable

from penstock_gateway.cache.circuit_breaker import CircuitBreaker


class Reach(enum.Enum):
    """How far a lookup goes."""

    NOTHING = enum.auto()
    EXACT = enum.auto()
    MEANING = enum.auto()


class LookupBreakers:
    """Two breakers: comparing takes an encoder's time, and where that is late, exact answers are found all the same.

    A lookup by meaning that is late says nothing about the service; whether that is well the exact lookups show, which
    take its place. Every lookup let through reports its end.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._service = CircuitBreaker(clock)
        self._meaning = CircuitBreaker(clock)

    def __repr__(self) -> str:
        return f"LookupBreakers(service={self._service!r}, meaning={self._meaning!r})"

    def allow(self, wanted: Reach) -> Reach:
        """How far a lookup may go now; then one of the others must follow, unless that is nowhere."""
        if not self._service.allow():
            return Reach.NOTHING
        if wanted is Reach.MEANING and self._meaning.allow():
            return Reach.MEANING
        return Reach.EXACT

    def succeeded(self, reach: Reach, *, is_compared: bool) -> None:
        """The service answered in time. An exact hit, which it did not have to compare, says nothing of comparing."""
        self._service.succeeded()
        if reach is Reach.MEANING:
            (self._meaning.succeeded if is_compared else self._meaning.abandoned)()

    def was_late(self, reach: Reach) -> None:
        """There was no answer in time."""
        if reach is Reach.MEANING:
            self._meaning.failed()
            self._service.abandoned()
        else:
            self._service.failed()

    def failed(self, reach: Reach) -> None:
        """The service gave an error, or was not there."""
        self._service.failed()
        if reach is Reach.MEANING:
            self._meaning.abandoned()

    def abandoned(self, reach: Reach) -> None:
        """The caller left before its end."""
        self._service.abandoned()
        if reach is Reach.MEANING:
            self._meaning.abandoned()
