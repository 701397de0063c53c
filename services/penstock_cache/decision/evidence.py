"""What all candidates together say of each: a second witness for its cluster, and rivals that claim the prompt too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_cache.decision.candidate import Candidate

_MAX_EXPONENT = 20.0


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """How much the company of a candidate counts; fitted offline by bench/fit_decider_prior.py.

    Attributes:
        witness: what a second candidate of the same cluster adds.
        lag: how much of that is lost for each logit that it scores less than the first.
        rivals: weight of the logit that is lost to other clusters; 1 if exactly one cluster can be right.
    """

    witness: float = 0.6
    lag: float = 0.5
    rivals: float = 0.55


@dataclass(frozen=True, slots=True)
class Evidence:
    """A logit that a cluster's answer serves the prompt, with the place of its best candidate."""

    index: int
    score: float


def weigh(candidates: Sequence[Candidate], outdated: Sequence[float], weights: EvidenceWeights) -> list[Evidence]:
    """The evidence for each cluster among the candidates.

    If one cluster at most is right, and scores are logits, the odds of a cluster are its own over one and those of
    its rivals.

    Args:
        candidates: with their scores.
        outdated: for each, the probability that its cluster's answer is an old one, which is no rival.
        weights: of what counts.
    """
    places: dict[str, list[int]] = {}
    for index in sorted(range(len(candidates)), key=lambda index: -candidates[index].score):
        places.setdefault(candidates[index].cluster, []).append(index)
    odds = {
        name: (1 - outdated[own[0]]) * math.exp(max(-_MAX_EXPONENT, min(_MAX_EXPONENT, candidates[own[0]].score)))
        for name, own in places.items()
    }
    total = sum(odds.values())
    found = []
    for name, own in places.items():
        best = candidates[own[0]].score
        company = weights.witness - weights.lag * (best - candidates[own[1]].score) if len(own) > 1 else 0.0
        rivals = math.log1p(max(0.0, total - odds[name]))
        found.append(Evidence(own[0], best + company - weights.rivals * rivals))
    return found
