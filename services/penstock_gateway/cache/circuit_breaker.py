"""A circuit breaker: calls to a service that keeps failing are left out for a while, then tried with one."""

from collections.abc import Callable


class CircuitBreaker:
    """Closed, it lets all calls through; open, none; half open, one probe. Every call let through reports its end.

    Args:
        clock: monotonic seconds.
        max_failures: consecutive failures that open it.
        shortest_open_s: how long it stays open the first time; twice as long after each probe that fails.
        longest_open_s: the bound of that.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_failures: int = 5,
        shortest_open_s: float = 1.0,
        longest_open_s: float = 30.0,
    ) -> None:
        self._clock = clock
        self._max_failures = max_failures
        self._shortest_open_s = shortest_open_s
        self._longest_open_s = longest_open_s
        self._num_failures = 0
        self._open_s = shortest_open_s
        self._open_until_s: float | None = None
        self._is_probing = False

    def __repr__(self) -> str:
        state = "closed" if self._open_until_s is None else "half open" if self._is_probing else "open"
        return f"CircuitBreaker({state}, failures={self._num_failures})"

    def allow(self) -> bool:
        """Whether a call may be made now; then `succeeded`, `failed` or `abandoned` must follow."""
        if self._open_until_s is None:
            return True
        if self._is_probing or self._clock() < self._open_until_s:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """A call went well: closed."""
        self._num_failures = 0
        self._open_s = self._shortest_open_s
        self._open_until_s = None
        self._is_probing = False

    def failed(self) -> None:
        """A call failed, or was too slow."""
        self._num_failures += 1
        if self._is_probing:
            self._open_s = min(2 * self._open_s, self._longest_open_s)
            self._is_probing = False
            self._open_until_s = self._clock() + self._open_s
        elif self._num_failures >= self._max_failures and self._open_until_s is None:
            self._open_until_s = self._clock() + self._open_s

    def abandoned(self) -> None:
        """A call's caller left before its end: it says nothing, and the next one may probe."""
        self._is_probing = False
