"""How much better or worse a cluster is than its scores say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """A Gaussian over a cluster's addition to the logit of correctness."""

    mean: float
    variance: float
