"""Intervals and bounds of shares."""

import random

import pytest

from penstock.bench.cache.confidence import bounds_over_time, interval


def test_interval_is_that_of_clopper_and_pearson() -> None:
    """Values of R's binom.test; no error in 300 requests allows for 1.2 %."""
    assert interval(0, 300) == (0.0, pytest.approx(0.012221, abs=1e-6))
    assert interval(8, 100) == pytest.approx((0.035172, 0.151558), abs=1e-6)
    assert interval(100, 100) == (pytest.approx(0.963783, abs=1e-6), 1.0)
    assert interval(0, 0) == (0.0, 1.0)


def test_bounds_hold_at_all_counts_at_once() -> None:
    """Of 60 runs of 1,000, looked at a dozen times, at most one in ten may ever have the truth outside.

    The chance of an error changes on the way, as it does while a cache learns.
    """
    rng = random.Random(5)
    counts = [*range(10, 100, 20), *range(100, 1001, 150)]
    num_outside = 0
    for _ in range(60):
        chances = [0.2 if step < 100 else 0.02 for step in range(1000)]
        outcomes = [rng.random() < chance for chance in chances]
        truths = [sum(chances[:count]) / count for count in counts]
        bounds = bounds_over_time(outcomes, counts)
        num_outside += any(not b.lower <= truth <= b.upper for b, truth in zip(bounds, truths, strict=True))
    assert num_outside <= 6


def test_bounds_come_together() -> None:
    """What holds must be worth something, too: 20 errors in 2,000 cannot come from 2 %, nor from 0.3 %."""
    outcomes = [step % 100 == 50 for step in range(2000)]
    early, late = bounds_over_time(outcomes, [100, 2000])
    assert (early.share, late.share) == (0.01, 0.01)
    assert 0.003 < late.lower < 0.01 < late.upper < 0.02 < early.upper


def test_no_error_in_six_hundred_shows_less_than_one_percent() -> None:
    """What a run can prove at best."""
    (bounds,) = bounds_over_time([False] * 600, [600])
    assert (bounds.share, bounds.lower) == (0.0, 0.0)
    assert 0.005 < bounds.upper < 0.01
