"""When requests are sent, and how many."""

from itertools import islice, pairwise
from statistics import mean, pstdev

import pytest

from penstock.bench.pacing import Budget, poisson_arrivals


def test_arrivals_are_poisson() -> None:
    """Gaps of an exponential distribution: their mean and their deviation are both 1 / rate."""
    times_s = [0.0, *islice(poisson_arrivals(4.0, seed=1), 5000)]
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert mean(gaps_s) == pytest.approx(0.25, rel=0.05)
    assert pstdev(gaps_s) == pytest.approx(0.25, rel=0.05)
    assert min(gaps_s) > 0


def test_arrivals_follow_from_the_seed() -> None:
    """The same load twice; its bursts included."""
    assert [round(at_s, 4) for at_s in islice(poisson_arrivals(3.0, seed=0), 3)] == [0.6134, 0.927, 1.3751]
    assert next(poisson_arrivals(3.0, seed=1)) != next(poisson_arrivals(3.0, seed=0))


def test_budget_ends_with_the_number_of_requests() -> None:
    """Not one more."""
    budget = Budget(num_requests=2, duration_s=None)
    assert [budget.take(99.0) for _ in range(3)] == [True, True, False]


def test_budget_ends_with_the_duration() -> None:
    """What is due at its end is not sent any more."""
    budget = Budget(num_requests=None, duration_s=10.0)
    assert [budget.take(at_s) for at_s in (0.0, 9.99, 10.0)] == [True, True, False]


def test_whichever_limit_comes_first() -> None:
    """Both may be given."""
    budget = Budget(num_requests=2, duration_s=10.0)
    assert [budget.take(at_s) for at_s in (0.0, 11.0, 1.0, 2.0)] == [True, False, True, False]


def test_run_lasts_its_duration_even_if_nothing_more_comes() -> None:
    """A quiet end belongs to the rate; a run of so many requests ends with the last of them."""
    assert Budget(num_requests=None, duration_s=10.0).end_s(12.5) == 10.0
    assert Budget(num_requests=3, duration_s=10.0).end_s(4.0) == 0.0
    assert Budget(num_requests=3, duration_s=None).end_s(4.0) == 0.0


def test_share_done_is_that_of_the_nearer_end() -> None:
    """The bar arrives when the run does."""
    assert Budget(num_requests=10, duration_s=None).share_done(5.0, num_ended=3) == 0.3
    assert Budget(num_requests=10, duration_s=10.0).share_done(5.0, num_ended=3) == 0.5
    assert Budget(num_requests=None, duration_s=10.0).share_done(15.0, num_ended=3) == 1.0
