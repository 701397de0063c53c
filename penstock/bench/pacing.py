"""When requests are sent, and how many."""

import random
from collections.abc import Iterator


def poisson_arrivals(rate_per_s: float, seed: int) -> Iterator[float]:
    """Times of arrival in seconds from the start, without end; the gaps are exponential with mean 1 / `rate_per_s`."""
    rng = random.Random(f"{seed}/arrivals")  # noqa: S311 - a plan, not a secret
    at_s = 0.0
    while True:
        at_s += rng.expovariate(rate_per_s)
        yield at_s


class Budget:
    """Decides whether one more request may begin.

    Args:
        num_requests: most of them; None: no limit.
        duration_s: none begins later than this, in seconds from the start; None: no limit.
    """

    def __init__(self, *, num_requests: int | None, duration_s: float | None) -> None:
        self._num_requests = num_requests
        self._duration_s = duration_s
        self.num_begun = 0

    def take(self, at_s: float) -> bool:
        """Whether a request may begin at `at_s`; counts it if so."""
        is_full = self._num_requests is not None and self.num_begun >= self._num_requests
        is_over = self._duration_s is not None and at_s >= self._duration_s
        if is_full or is_over:
            return False
        self.num_begun += 1
        return True

    def end_s(self, refused_at_s: float) -> float:
        """When a run is over whose next request, due at `refused_at_s`, was refused.

        A duration counts to its end, with or without requests; otherwise rates would come out too high.
        """
        if self._duration_s is None or refused_at_s < self._duration_s:
            return 0.0
        return self._duration_s

    def share_done(self, at_s: float, num_ended: int) -> float:
        """How much of the run lies behind, 0 to 1, by whichever limit comes first."""
        shares = [0.0]
        if self._num_requests is not None:
            shares.append(num_ended / self._num_requests)
        if self._duration_s is not None:
            shares.append(at_s / self._duration_s)
        return min(1.0, max(shares))
