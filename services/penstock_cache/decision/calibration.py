"""From scores to probabilities: a Bayesian logistic regression that learns label by label.

Each label is one step of assumed-density filtering: the likelihood of one observation depends on the weights through
one number, its logit, so the posterior's mode and curvature (Laplace) are found along that line alone, and carried back
to the weights and to the cluster's effect by their covariance with it. Nothing is refitted.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.effect import Effect

_MAX_SCORE = 30.0
_NEWTON_STEPS = 8
_CONVERGED = 1e-6


@dataclass(frozen=True, slots=True)
class Logit:
    """A Gaussian over the logit of correctness."""

    mean: float
    variance: float

    @property
    def probability(self) -> float:
        """Expectation of the logistic under the Gaussian (MacKay's approximation)."""
        return sigmoid(self.mean / math.sqrt(1 + math.pi * self.variance / 8))

    def lower(self, num_deviations: float) -> float:
        """Probability at so many standard deviations below the mean."""
        return sigmoid(self.mean - num_deviations * math.sqrt(self.variance))


class Calibration:
    """What the scores of one verifier mean for one tenant and model.

    Args:
        prior: learnt offline.
    """

    def __init__(self, prior: CalibrationPrior) -> None:
        self._noise = prior.noise
        self._knees = prior.knees
        self._mean = np.array(prior.mean, float)  # [num_weights]
        self._prior_variance = np.square(prior.deviation)
        self._covariance = np.diag(self._prior_variance)  # [num_weights, num_weights]
        self._drift_per_label = prior.drift_per_label

    def logit(self, score: float, effect: Effect) -> Logit:
        """What a score of a candidate means whose cluster has that effect."""
        features = self._features(score)
        variance = float(features @ self._covariance @ features) + effect.variance
        return Logit(float(features @ self._mean) + effect.mean, variance)

    def learn(self, score: float, effect: Effect, *, is_correct: bool, weight: float) -> Effect:
        """Takes in a label and returns the cluster's new effect.

        Args:
            score: of the candidate.
            effect: of its cluster so far.
            is_correct: what the label says.
            weight: how far it says so of the scores, in [0, 1]; less where another reason for a failure is likely.
        """
        features = self._features(score)
        gain = self._covariance @ features  # [num_weights]
        prior = self.logit(score, effect)
        mode = self._mode(prior, is_correct=is_correct, weight=weight)
        curvature = weight * self._likelihood(mode, is_correct=is_correct)[1]
        shrinkage = curvature / (1 + curvature * prior.variance)
        shift = (mode - prior.mean) / prior.variance
        self._mean += gain * shift
        self._covariance -= np.outer(gain, gain) * shrinkage
        self._fade()
        return Effect(effect.mean + effect.variance * shift, effect.variance * (1 - effect.variance * shrinkage))

    def _mode(self, prior: Logit, *, is_correct: bool, weight: float) -> float:
        """Mode of a Gaussian times the likelihood of one label, along the logit: Fisher's scoring."""
        mode = prior.mean
        for _ in range(_NEWTON_STEPS):
            slope, information = self._likelihood(mode, is_correct=is_correct)
            step = weight * slope - (mode - prior.mean) / prior.variance
            step /= weight * information + 1 / prior.variance
            mode += step
            if abs(step) < _CONVERGED:
                break
        return mode

    def _likelihood(self, logit: float, *, is_correct: bool) -> tuple[float, float]:
        """Slope of the log likelihood of a label over the logit, and the information (Fisher's) of any label there."""
        chance = sigmoid(logit)
        seen = self._noise.chance(chance, is_correct=True)
        # Without noise the quotient is 1, also where both of its sides vanish.
        gain = (
            self._noise.signal * chance * (1 - chance) / (seen * (1 - seen)) if self._noise.signal < 1 else 1.0
        )  # of the logit of what is seen over the logit of what is
        return gain * (is_correct - seen), gain * gain * seen * (1 - seen)

    def _fade(self) -> None:
        room = np.clip(self._prior_variance - np.diag(self._covariance), 0, None)
        self._covariance[np.diag_indices(len(room))] += self._drift_per_label * room

    def _features(self, score: float) -> NDArray[np.float64]:
        score = max(-_MAX_SCORE, min(_MAX_SCORE, score)) if score == score else -_MAX_SCORE  # noqa: PLR0124 - not a number
        return np.array([1.0, score, *(max(0.0, score - knee) for knee in self._knees)])


def sigmoid(logit: float) -> float:
    """The logistic function, without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1 + odds)
