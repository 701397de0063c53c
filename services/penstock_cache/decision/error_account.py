"""What may still go wrong: errors allowed so far, less the errors to be expected of what was served."""


class ErrorAccount:
    """Keeps the expected errors of served answers under the errors that requests allow, at every moment.

    Old entries on both sides fade, so that neither a calm past nor an old accident decides for ever.

    Args:
        horizon: after how many requests an entry counts for 1/e.
    """

    def __init__(self, *, horizon: int) -> None:
        self._fading = 1 - 1 / horizon
        self._allowed = 0.0
        self._expected = 0.0

    def __repr__(self) -> str:
        return f"ErrorAccount(expected={self._expected:.2f} of {self._allowed:.2f})"

    def begin(self, max_error_rate: float) -> None:
        """Takes in a request: what it allows."""
        self._allowed = self._allowed * self._fading + max_error_rate
        self._expected *= self._fading

    def can_bear(self, risk: float, correction: float) -> bool:
        """Whether one more answer of that risk may be served.

        Args:
            risk: the probability that it is wrong.
            correction: by what audits showed risks to be too low, as a factor.
        """
        return correction * (self._expected + risk) <= self._allowed

    def served(self, risk: float) -> None:
        """Notes what was served."""
        self._expected += risk
