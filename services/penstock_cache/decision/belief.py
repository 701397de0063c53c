"""What is believed of scores, clusters and time."""

from dataclasses import dataclass

from penstock_cache.decision.calibration import Calibration
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.clusters import Clusters, ClusterState
from penstock_cache.decision.label import Label
from penstock_cache.decision.lapses import Lapses
from penstock_cache.decision.staleness import Staleness

_BOUND_DEVIATIONS = 1.645
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a label met and left.

    Attributes:
        probability: that the answer was right, before the label came.
        stale: probability, since the label, that the answer is an old one.
    """

    probability: float
    stale: float


class Belief:
    """All that labels have taught, each part of it next to the others.

    Args:
        prior: what is believed before anything was learned.
        max_clusters: of how many clusters what was learned is kept.
    """

    def __init__(self, prior: CalibrationPrior, *, max_clusters: int) -> None:
        self._calibration = Calibration(prior)
        self._clusters = Clusters(capacity=max_clusters, deviation=prior.cluster_deviation)
        self._staleness = Staleness(prior.noise)
        self._lapses = Lapses(share=prior.lapse_share, num_labels=prior.lapse_labels, noise=prior.noise)

    @property
    def num_clusters(self) -> int:
        """Of how many something was learned."""
        return len(self._clusters)

    def outdated(self, cluster: str, created_s: float) -> float:
        """Probability that a cluster's answer, given at that time, is an old one by now."""
        known = self._clusters.state(cluster, created_s)
        return self._staleness.chance(known.checked_s, known.stale_chance)

    def assess(self, cluster: str, score: float, created_s: float) -> tuple[float, float]:
        """Probability that an answer serves, and a lower bound of it."""
        known = self._clusters.state(cluster, created_s)
        sound = 1 - self._staleness.chance(known.checked_s, known.stale_chance)
        sound *= 1 - self._lapses.share
        logit = self._calibration.logit(score, known.effect)
        return sound * logit.probability, sound * logit.lower(_BOUND_DEVIATIONS)

    def learn(self, label: Label) -> Lesson:
        """Takes in what an exploration showed."""
        known = self._clusters.state(label.cluster, label.time_s)
        logit = self._calibration.logit(label.score, known.effect)
        sound = (1 - self._lapses.share) * logit.probability
        chance = self._staleness.chance(known.checked_s, known.stale_chance)
        stale = self._staleness.update(chance, sound, is_correct=label.is_correct)
        if known.stale_chance < _EVEN and sound > _EVEN:
            self._staleness.learn(
                checked_s=known.checked_s, now_s=label.time_s, probability=sound, is_correct=label.is_correct
            )
        lapse = self._lapses.learn(probability=logit.probability, is_correct=label.is_correct, weight=1 - stale)
        weight = (1 - stale) * (1 - lapse)
        effect = self._calibration.learn(label.score, known.effect, is_correct=label.is_correct, weight=weight)
        self._clusters.put(label.cluster, ClusterState(effect, label.time_s, stale))
        return Lesson((1 - chance) * sound, stale)
