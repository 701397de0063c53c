"""How fast admitted work leaves, for telling refused callers when to come back."""

import math
from collections.abc import Callable

_TIME_CONSTANT_S = 10.0


class DrainRate:
    """An exponentially weighted rate of amounts that left.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._weighted = 0.0
        self._begin_s = clock()
        self._last_s = self._begin_s

    def add(self, amount: float) -> None:
        """Counts what has just left."""
        self._weighted = self._decayed() + amount
        self._last_s = self._clock()

    def per_s(self) -> float:
        """Amount a second, over about the last ten seconds; 0 where nothing has left."""
        observed_s = self._clock() - self._begin_s
        window_s = _TIME_CONSTANT_S * -math.expm1(-observed_s / _TIME_CONSTANT_S)
        return self._decayed() / window_s if window_s > 0 else 0.0

    def seconds_until(self, amount: float, *, at_least_s: float, at_most_s: float) -> float:
        """When `amount` will have left at this rate, within bounds."""
        rate = self.per_s()
        wait_s = amount / rate if rate > 0 else math.inf
        return min(max(wait_s, at_least_s), at_most_s)

    def _decayed(self) -> float:
        return self._weighted * math.exp((self._last_s - self._clock()) / _TIME_CONSTANT_S)
