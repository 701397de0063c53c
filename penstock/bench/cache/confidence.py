"""How sure a share is that was counted: an interval for a count, and bounds that hold at every count at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_BISECTIONS = 40
_CONFIDENCE = 0.95
# From slow to fast bets; which one is best depends on shares and counts that nobody knows beforehand.
_TILTS = tuple(0.05 * 1.6**power for power in range(11))  # 0.05 to 5.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """A share and its bounds after `count` trials; each bound holds with 95 %."""

    count: int
    share: float
    lower: float
    upper: float


def interval(successes: int, trials: int, confidence: float = _CONFIDENCE) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson (Biometrika 26, 1934) for the share of successes."""
    if not trials:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    lower = _root(lambda share: 1 - _at_most(successes - 1, trials, share) - tail) if successes else 0.0
    upper = _root(lambda share: tail - _at_most(successes, trials, share)) if successes < trials else 1.0
    return lower, upper


def bounds_over_time(outcomes: Sequence[bool], counts: Sequence[int]) -> list[Bounds]:
    """Bounds of the share of true ones after each of `counts` outcomes, which may be looked at all along.

    A confidence sequence: with 95 % the bound lies on its side of the truth at *every* count, however often one looks.
    The truth at a count is the mean of the chances that the outcomes so far had, and these may change from one to the
    next and depend on what was seen (the cache learns). For a tilt l, the product of exp(l X_t) / (1 - p_t + p_t
    exp(l)) is a martingale, and by concavity its denominator is at most that of the mean chance; Ville's inequality
    holds for an average over tilts (Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021, section 3).
    """
    found = []
    num_true = taken = 0
    for count in counts:
        num_true += sum(outcomes[taken:count])
        taken = count
        share = num_true / count if count else 0.0
        lower, upper = _bound(num_true, count, 1), _bound(num_true, count, -1)
        found.append(Bounds(count, share, min(lower, share), max(upper, share)))
    return found


def _bound(num_true: int, count: int, side: int) -> float:
    """The smallest (side 1) or largest (side -1) mean chance that the bets have not ruled out."""
    limit = -math.log(1 - _CONFIDENCE)

    def excess(share: float) -> float:
        logs = [
            side * tilt * num_true - count * math.log1p(share * math.expm1(side * tilt)) - math.log(len(_TILTS))
            for tilt in _TILTS
        ]
        highest = max(logs)
        return highest + math.log(math.fsum(math.exp(log - highest) for log in logs)) - limit

    if side > 0:
        return 0.0 if excess(0.0) <= 0 else _root(lambda share: -excess(share))
    return 1.0 if excess(1.0) <= 0 else _root(excess)


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises on [0, 1] crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def _at_most(successes: int, trials: int, share: float) -> float:
    """The chance of at most so many successes."""
    if not 0 < share < 1:
        return 1.0 if share <= 0 else 0.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * log_share
        + (trials - count) * log_rest
        for count in range(successes + 1)
    )
    return min(1.0, math.fsum(math.exp(log) for log in logs))
