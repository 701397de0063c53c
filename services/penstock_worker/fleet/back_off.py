"""How long a replica that keeps dying waits before it is started again. No I/O: time is passed in."""

from collections.abc import Callable

_FIRST_S = 0.25
_LONGEST_S = 30.0
# Who has served for so long is well again.
CALM_S = 10.0


class BackOff:
    """Counts deaths in a row.

    One that served is started again at once, the first time; each further one waits twice as long, 30 s at most. After
    ten seconds of serving all is forgotten: a loop as slow as that wears nothing out, and a pause would only add to the
    time without the replica.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._serving_since_s: float | None = None
        self._next_s = _FIRST_S
        self.num_failures = 0

    def serves(self) -> None:
        """The replica has got ready."""
        self._serving_since_s = self._clock()

    def failed(self) -> float:
        """The replica died, or did not get ready. Seconds to wait now."""
        since_s, self._serving_since_s = self._serving_since_s, None
        if since_s is not None and self._clock() - since_s >= CALM_S:
            self.num_failures, self._next_s = 0, _FIRST_S
        self.num_failures += 1
        if since_s is not None and self.num_failures == 1:
            return 0.0
        pause_s, self._next_s = self._next_s, min(_LONGEST_S, 2 * self._next_s)
        return pause_s
