"""What is believed of the verifier's scores before anything was learned from traffic."""

from dataclasses import dataclass, field

from penstock_cache.decision.evidence import EvidenceWeights
from penstock_cache.decision.label_noise import LabelNoise


@dataclass(frozen=True, slots=True)
class CalibrationPrior:
    """A Gaussian over the logit of correctness as a function of the score.

    logit P(correct) = intercept + slope * score + effect of the cluster + bend * max(0, score - knee), for every knee.

    Attributes:
        mean: of intercept, slope and bends.
        deviation: standard deviations of the same, independent; two to four times those between sets of prompts.
        knees: scores from which on the slope may be another one: above them lies what is served.
        cluster_deviation: standard deviation of the clusters' effects.
        lapse_share: of pairs whose scores mean nothing.
        lapse_labels: how many labels that share is worth.
        evidence: what makes a score of the scores of all candidates.
        noise: of the labels. Supposed, not learned: a right answer that is labelled wrong looks like a bad verifier.
        drift_per_label: variance that each label adds, as a share of the prior's: what was learned long ago fades.
    """

    mean: tuple[float, ...] = (0.3, 1.1, 0.0, 0.0, -0.3)
    deviation: tuple[float, ...] = (0.9, 0.36, 0.6, 0.9, 1.2)
    knees: tuple[float, ...] = (0.0, 2.0, 4.0)
    cluster_deviation: float = 0.5
    lapse_share: float = 0.001
    lapse_labels: float = 100.0
    evidence: EvidenceWeights = field(default_factory=EvidenceWeights)
    noise: LabelNoise = field(default_factory=lambda: LabelNoise(missed=0.05, mistaken=0.05))
    drift_per_label: float = 1e-4
