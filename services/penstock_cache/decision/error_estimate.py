"""How often the cache is wrong, from audits alone, with a bound that holds at every moment at once."""

import math

_SHARPNESS = tuple(0.02 * 1.6**k for k in range(16))


class ErrorEstimate:
    """Share of wrong hits among requests, estimated from audited ones by inverse propensity.

    An audited would-be hit of propensity e stands for (1 - e) / e that were served. No model of the scores is part of
    it: the estimate is unbiased whatever the verifier does.
    """

    def __init__(self) -> None:
        self._num_requests = 0
        self._num_served = 0
        self._wrong = 0.0
        self._largest = 1.0
        self._num_audits = 0

    @property
    def num_requests(self) -> int:
        """Requests that were decided."""
        return self._num_requests

    @property
    def num_served(self) -> int:
        """Requests that were served."""
        return self._num_served

    @property
    def num_audits(self) -> int:
        """Audits whose labels came."""
        return self._num_audits

    @property
    def num_wrong(self) -> float:
        """Estimated number of wrong hits."""
        return self._wrong

    def decided(self, *, is_served: bool) -> None:
        """Counts a request."""
        self._num_requests += 1
        self._num_served += is_served

    def audited(self, *, propensity: float, is_correct: bool) -> None:
        """Takes in what an audit showed."""
        weight = (1 - propensity) / propensity
        self._num_audits += 1
        self._largest = max(self._largest, weight)
        self._wrong += 0 if is_correct else weight

    def error_rate(self) -> float:
        """Estimated wrong hits a request."""
        return self._wrong / max(1, self._num_requests)

    def error_rate_bound(self, *, failure_chance: float = 0.05) -> float:
        """Upper bound of the same."""
        bound = upper_bound(self._wrong, largest=self._largest, failure_chance=failure_chance)
        return min(1.0, bound / max(1, self._num_requests))


def upper_bound(total: float, *, largest: float, failure_chance: float) -> float:
    """Bound of the sum of conditional means of a process, from the sum of its values in [0, largest].

    For y in [0, b] with mean m and any x > 0, E exp(-x y / b) <= exp(-(m / b) (1 - exp(-x))). So
    exp((sum of means / b) (1 - exp(-x)) - x (sum of values) / b) is a supermartingale whatever the means do, and by
    Ville's inequality passes 1 / failure_chance at any time with at most that probability. The best of a grid of x pays
    for the choice.
    """
    price = math.log(len(_SHARPNESS) / failure_chance)
    return min((x * total + largest * price) / -math.expm1(-x) for x in _SHARPNESS)


def lower_bound(total: float, *, largest: float, failure_chance: float) -> float:
    """The same from below, by E exp(x y / b) <= exp((m / b) (exp(x) - 1))."""
    price = math.log(len(_SHARPNESS) / failure_chance)
    return max(0.0, *((x * total - largest * price) / math.expm1(x) for x in _SHARPNESS))
