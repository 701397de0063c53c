"""What is believed of the verifier's scores before anything was learned from traffic."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CalibrationPrior:
    """A Gaussian over the logit of correctness as a function of the score.

    logit P(correct) = intercept + slope * score + bend * max(0, score - knee) + effect of the cluster.

    Attributes:
        mean: of intercept, slope and bend.
        deviation: standard deviations of the same, independent.
        knee: score from which on the slope may be another one; above it lies what is served.
        cluster_deviation: standard deviation of the clusters' effects.
        drift_per_label: variance that each label adds, as a share of the prior's: what was learned long ago fades.
    """

    mean: tuple[float, float, float] = (-0.3, 0.9, 0.0)
    deviation: tuple[float, float, float] = (0.7, 0.25, 0.25)
    knee: float = 2.0
    cluster_deviation: float = 0.7
    drift_per_label: float = 1e-4
