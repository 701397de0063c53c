"""The risks of recent requests: where the line between serving and exploring lies for the error to come out right."""

import numpy as np


class RiskWindow:
    """Risks and stakes of the last requests, served or not.

    Serving whatever has a stake of at most x makes, over these requests, as many errors as their risks add up to. So a
    request is affordable if all that is no worse than itself is, itself included. With few requests seen this is strict
    (the first is affordable only if its own risk is below the error rate), and a run of near misses tightens it as it
    comes in.

    Args:
        capacity: how many requests are looked back.
    """

    def __init__(self, capacity: int) -> None:
        self._stakes = np.zeros(capacity)
        self._risks = np.zeros(capacity)
        self._num_seen = 0

    def add(self, stake: float, risk: float) -> None:
        """Takes in a request.

        Args:
            stake: by what requests are ranked, the lowest being served first.
            risk: the probability that serving it is wrong.
        """
        slot = self._num_seen % len(self._risks)
        self._stakes[slot] = stake
        self._risks[slot] = risk
        self._num_seen += 1

    def expected_error_rate(self, stake: float) -> float:
        """Errors a request if all seen were served whose stake is no higher; 0 where nothing was seen."""
        num = min(self._num_seen, len(self._risks))
        if num == 0:
            return 0.0
        return float(np.dot(self._risks[:num], self._stakes[:num] <= stake)) / num
