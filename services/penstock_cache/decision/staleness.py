"""Answers that change: how likely is it that an answer is outdated which was right when it was last checked?

Every label is a check of an interval: the answer was right at its beginning, and at its end still was or was not.
Between checks answers change with a hazard that is constant in bins of time, the bins holding equal numbers of checks.
The hazards are estimated by expectation maximisation for interval-censored events, with a weak prior towards none.
A failed check need not be a change; how likely it was to fail anyway decides how far it counts as one.
"""

import numpy as np
from numpy.typing import NDArray

from penstock_cache.decision.label_noise import LabelNoise

_CHECKS_A_BIN = 16
_NUM_ROUNDS = 8
_PRIOR_EVENTS = 0.01
_PRIOR_EXPOSURE = 5.0
# How often an answer that has changed is right all the same.
_MISSED = 0.03
_MAX_RATIO = 1000.0
# By how much, in log likelihood, changes must explain the checks better than none, to be believed as likely as not: so
# many bins explain something of any checks.
_PRICE = 3.0
# From here on a check is news that cannot wait for its bin to fill.
_SURPRISE = 2.0


class Staleness:
    """Estimates from recent labels how many answers change.

    Args:
        noise: of the labels.
        capacity: how many checks are looked back.
    """

    def __init__(self, noise: LabelNoise, *, capacity: int = 512) -> None:
        self._noise = noise
        self._begin_s = np.zeros(capacity)
        self._end_s = np.zeros(capacity)
        self._ratio = np.zeros(capacity)  # likelihood of what the check showed, changed to unchanged
        self._num_checks = 0
        self._edges_s: NDArray[np.float64] = np.zeros(2)
        self._hazard: NDArray[np.float64] = np.zeros(2)  # accumulated up to each edge
        self._num_unread = 0

    def chance(self, checked_s: float, stale_chance: float) -> float:
        """Probability that an answer is outdated now.

        Args:
            checked_s: when it was last checked.
            stale_chance: that it was outdated then.
        """
        begun = float(np.interp(checked_s, self._edges_s, self._hazard))
        return float(1 - (1 - stale_chance) * np.exp(begun - self._hazard[-1]))

    def update(self, chance: float, probability: float, *, is_correct: bool) -> float:
        """Probability that an answer is outdated, after a label; `probability`: that it serves if it is not."""
        odds = chance * self._likelihood_ratio(probability, is_correct=is_correct)
        return odds / (odds + 1 - chance) if chance < 1 else 1.0

    def learn(self, *, checked_s: float, now_s: float, probability: float, is_correct: bool) -> None:
        """Takes in a check of an answer that was right at `checked_s`."""
        slot = self._num_checks % len(self._ratio)
        self._begin_s[slot] = checked_s
        self._end_s[slot] = now_s
        self._ratio[slot] = self._likelihood_ratio(probability, is_correct=is_correct)
        self._num_checks += 1
        self._num_unread += 1
        if self._num_unread >= _CHECKS_A_BIN or self._ratio[slot] > _SURPRISE:
            self._estimate()

    def _estimate(self) -> None:
        self._num_unread = 0
        num = min(self._num_checks, len(self._ratio))
        begin_s, end_s, ratio = self._begin_s[:num], self._end_s[:num], self._ratio[:num]
        ends = np.sort(end_s)
        edges = np.unique(np.concatenate(([begin_s.min() - 1e-3], ends[::-_CHECKS_A_BIN][::-1])))
        if len(edges) == 1:
            return
        widths = np.diff(edges)
        upto_end = np.clip((end_s[:, None] - edges[:-1]) / widths, 0, 1)
        upto_begin = np.clip((begin_s[:, None] - edges[:-1]) / widths, 0, 1)
        exposure = upto_end - upto_begin  # [num, num_bins]
        total = exposure.sum(axis=0) + _PRIOR_EXPOSURE
        hazard = np.full(len(widths), _PRIOR_EVENTS / _PRIOR_EXPOSURE)
        for _ in range(_NUM_ROUNDS):
            accumulated = exposure @ hazard + 1e-12
            changed = -np.expm1(-accumulated)
            responsibility = changed * ratio / (changed * ratio + 1 - changed)
            hazard = (_PRIOR_EVENTS + hazard * (exposure.T @ (responsibility / accumulated))) / total
        changed = -np.expm1(-(exposure @ hazard))
        gain = float(np.log1p(changed * (ratio - 1)).sum()) - _PRICE
        hazard = hazard / (1 + np.exp(-max(-_PRICE, min(_PRICE, gain))))
        self._edges_s = edges
        self._hazard = np.concatenate(([0.0], np.cumsum(hazard)))

    def _likelihood_ratio(self, probability: float, *, is_correct: bool) -> float:
        """How much likelier a label is of a changed answer than of an unchanged one."""
        seen_changed = self._noise.chance(_MISSED, is_correct=is_correct)
        seen_unchanged = self._noise.chance(probability, is_correct=is_correct)
        return min(_MAX_RATIO, seen_changed / max(seen_unchanged, 1e-9))
