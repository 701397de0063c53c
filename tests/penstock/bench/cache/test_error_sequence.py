"""The error over time."""

from penstock.bench.cache.error_sequence import error_over_time


def test_highest_bounds_after_the_first_requests_are_at_errors() -> None:
    """An early burst counts for nothing but the mean; a late one shows in both bounds."""
    quiet = error_over_time([False] * 2000, 0.01)
    burst = error_over_time([False] * 1500 + [True] * 60 + [False] * 440, 0.01)
    assert quiet.max_lower_after_first == 0.0
    assert quiet.is_below_from is not None
    assert burst.max_lower_after_first == max(point.lower for point in burst.points) > 0.02
    assert burst.max_lower_after_first == next(point.lower for point in burst.points if point.count == 1560)
    assert burst.is_below_from is None
    assert error_over_time([False] * 499, 0.01).max_upper_after_first is None
