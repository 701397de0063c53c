"""Figures of a replay."""

from dataclasses import dataclass

import numpy as np
from decision_bench.replay import Outcome, Result
from decision_bench.scenarios import Run

from penstock_cache.decision.error_estimate import lower_bound


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of the requests that reached the semantic layer.

    Attributes:
        num_requests: of those.
        hit_rate, error_rate: served, and served wrong.
        wrong_per_served: wrong ones among the served.
        possible: share with a right candidate: a perfect decider's hit rate.
        best_threshold: hit rate of the best static threshold of the verifier's scores, chosen with the truth in view.
        all_hit_rate: with exact hits, of all requests.
    """

    num_requests: int
    hit_rate: float
    error_rate: float
    wrong_per_served: float
    possible: float
    best_threshold: float
    all_hit_rate: float


def figures(result: Result, max_error_rate: float) -> Figures:
    """Of a replay."""
    outcome = np.array(result.outcome)
    wrong = np.array(result.is_wrong)
    semantic = outcome != Outcome.EXACT
    num = int(semantic.sum())
    served = int((outcome == Outcome.SERVED).sum())
    return Figures(
        num_requests=num,
        hit_rate=served / num,
        error_rate=float(wrong.sum()) / num,
        wrong_per_served=float(wrong.sum()) / max(1, served),
        possible=float(np.array(result.could_serve).sum()) / num,
        best_threshold=_best_threshold(result, max_error_rate, num),
        all_hit_rate=(served + len(outcome) - num) / len(outcome),
    )


@dataclass(frozen=True, slots=True)
class RunningErrors:
    """The error rate as it was at each moment after the first 500 requests of the semantic layer.

    Attributes:
        highest: of all moments.
        is_proven_above: whether a lower confidence sequence (95 %) ever lay above the error rate that is allowed.
    """

    highest: float
    is_proven_above: bool


def running_errors(result: Result, max_error_rate: float, *, first: int = 500) -> RunningErrors:
    """Of a replay."""
    semantic = np.array(result.outcome) != Outcome.EXACT
    wrong = np.cumsum(np.array(result.is_wrong)[semantic])
    counts = np.arange(1, len(wrong) + 1)
    highest = float((wrong[first:] / counts[first:]).max())
    lower = [lower_bound(float(wrong[at]), largest=1.0, failure_chance=0.05) for at in range(first, len(wrong), 20)]
    return RunningErrors(highest, bool((lower > max_error_rate * counts[first::20]).any()))


def since_change(run: Run, *, step: int = 100, before: int = 5, after: int = 12) -> tuple[list[float], list[float]]:
    """Error and hit rates of requests of the changed classes, so many at a time, from before the change on."""
    assert run.change is not None
    outcome, wrong = np.array(run.result.outcome), np.array(run.result.is_wrong)
    theirs = np.flatnonzero(np.isin(run.result.klass, list(run.change.classes)))
    begin = int(np.searchsorted(theirs, run.change.at_request)) - before * step
    parts = [theirs[begin + i * step : begin + (i + 1) * step] for i in range(before + after)]
    return [float(wrong[part].mean()) for part in parts], [
        float((outcome[part] == Outcome.SERVED).mean()) for part in parts
    ]


def _best_threshold(result: Result, max_error_rate: float, num: int) -> float:
    score = np.array(result.score)
    right = np.array(result.best_is_right)
    known = ~np.isnan(score)
    order = np.argsort(-score[known])
    errors = np.cumsum(~right[known][order])
    allowed = np.flatnonzero(errors <= max_error_rate * num)
    return (int(allowed[-1]) + 1) / num if len(allowed) else 0.0
