"""Mistakes that no score foresees: a share of pairs that look right to the verifier at any score, and are not.

A logistic curve says that with the score rising risk goes to nothing. A verifier that overlooks some differences
altogether leaves a floor, and the best scores are where most hits are. The floor is a Beta-distributed share; a label
counts for it as far as it says something of it (its Fisher information, next to that of a plain draw).
"""

from penstock_cache.decision.label_noise import LabelNoise


class Lapses:
    """The share of pairs whose scores mean nothing.

    Args:
        share: believed before anything was learned.
        num_labels: how many labels that belief is worth.
        noise: of the labels.
        memory: how many labels are remembered.
    """

    def __init__(self, *, share: float, num_labels: float, noise: LabelNoise, memory: float = 2000.0) -> None:
        self._noise = noise
        self._lapsed = share * num_labels
        self._sound = (1 - share) * num_labels
        self._memory = memory

    @property
    def share(self) -> float:
        """Expectation of the share."""
        return self._lapsed / (self._lapsed + self._sound)

    def learn(self, *, probability: float, is_correct: bool, weight: float) -> float:
        """Takes in a label and returns the probability that it shows a lapse.

        Args:
            probability: that the candidate is right, but for lapses.
            is_correct: what the label says.
            weight: less than 1 where another reason for a failure is likely.
        """
        share = self.share
        chance = self._noise.chance((1 - share) * probability, is_correct=is_correct)
        lapse = share * self._noise.chance(0.0, is_correct=is_correct) / chance
        information = (self._noise.signal * probability) ** 2 * share * (1 - share) / (chance * (1 - chance))
        self._lapsed += weight * information * lapse
        self._sound += weight * information * (1 - lapse)
        excess = (self._lapsed + self._sound) / self._memory
        if excess > 1:
            self._lapsed /= excess
            self._sound /= excess
        return lapse
