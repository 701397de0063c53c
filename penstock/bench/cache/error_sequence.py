"""The error over time, with bounds that may be looked at all along."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.bench.cache.confidence import Bounds, bounds_over_time

# A learner's first requests are not what it is measured by.
NUM_FIRST = 500
_NUM_POINTS = 200


@dataclass(frozen=True, slots=True)
class ErrorSequence:
    """The error over time. Each bound holds with 95 % at all counts at once.

    Attributes:
        points: at counts of requests that were no exact hits.
        max_lower_after_first: the highest lower bound after the first 500; None where there were not so many.
        max_upper_after_first: the highest upper bound after the first 500; None as above.
        is_below_from: from which count on the upper bound stays at or under the accepted rate; None: from none.
    """

    points: tuple[Bounds, ...]
    max_lower_after_first: float | None
    max_upper_after_first: float | None
    is_below_from: int | None


def error_over_time(is_wrong: Sequence[bool], max_error_rate: float) -> ErrorSequence:
    """The error with its bounds, at some 200 counts and at each error: between errors both bounds only fall."""
    total = len(is_wrong)
    regular = {total * point // _NUM_POINTS for point in range(1, _NUM_POINTS + 1)}
    counts = regular | {NUM_FIRST, total} | {place + 1 for place, wrong in enumerate(is_wrong) if wrong}
    points = bounds_over_time(is_wrong, sorted(count for count in counts if 0 < count <= total))
    later = [point for point in points if point.count >= NUM_FIRST]
    above = [point.count for point in points if point.upper > max_error_rate]
    return ErrorSequence(
        points=tuple(points),
        max_lower_after_first=max((point.lower for point in later), default=None),
        max_upper_after_first=max((point.upper for point in later), default=None),
        is_below_from=_next_count(points, above[-1] if above else 0),
    )


def _next_count(points: Sequence[Bounds], after: int) -> int | None:
    return next((point.count for point in points if point.count > after), None)
