"""What audits say about the risks of what is served: how often to look, and by what factor the risks are wrong."""

import math

from penstock_cache.decision.label_noise import LabelNoise

# How many errors, as foretold, the first audits are held against: to lower risks takes more of them than to raise them.
_PRIOR_ERRORS = 2.0
_PRIOR_ERRORS_TO_LOWER = 10.0
_FADING = 1 - 1 / 400


class Audits:
    """Draws would-be hits for a look, and compares the wrong ones among them with their risks.

    The probability of a look rises with the root of the risk: so the variance of the error's estimate is least for a
    given number of looks (Neyman's allocation).

    Args:
        noise: of their labels.
        base_rate: probability of a look at what is without risk.
        risk_rate: what the root of the risk adds.
    """

    def __init__(self, noise: LabelNoise, *, base_rate: float = 0.01, risk_rate: float = 0.12) -> None:
        self._base_rate = base_rate
        self._risk_rate = risk_rate
        self._noise = noise
        self._num_wrong = 0.0
        self._expected_wrong = 0.0
        self._expected_labels = 0.0  # that say "wrong"

    def rate(self, risk: float) -> float:
        """The probability of a look at a would-be hit of that risk."""
        return min(0.5, self._base_rate + self._risk_rate * math.sqrt(risk))

    @property
    def correction(self) -> float:
        """By what factor risks are too low: wrong ones over expected ones, drawn towards 1.

        How noisy labels are is supposed only. So risks are raised where more is wrong than they and the noise foretell,
        and lowered where less is wrong than the risks alone do.
        """
        raised = (_PRIOR_ERRORS + self._num_wrong) / (_PRIOR_ERRORS + self._expected_labels)
        lowered = (_PRIOR_ERRORS_TO_LOWER + self._num_wrong) / (_PRIOR_ERRORS_TO_LOWER + self._expected_wrong)
        return raised if raised > 1 else min(1.0, lowered)

    def learn(self, *, risk: float, wrong: float, propensity: float) -> None:
        """Takes in what a look showed.

        Args:
            risk: that was expected.
            wrong: 1 if it was wrong, 0 if not, less than 1 where the risk is accounted for elsewhere.
            propensity: of the look; what is seldom looked at stands for more.
        """
        weight = min(2.0, self.rate(0.02) / propensity)
        self._num_wrong = self._num_wrong * _FADING + weight * wrong
        self._expected_wrong = self._expected_wrong * _FADING + weight * risk
        expected = self._noise.chance(1 - risk, is_correct=False)
        self._expected_labels = self._expected_labels * _FADING + weight * expected
