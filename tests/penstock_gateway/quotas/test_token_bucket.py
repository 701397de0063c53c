"""Token buckets: what flows in, what is taken, and what is owed."""

import pytest

from penstock_gateway.quotas.token_bucket import TokenBucket


def test_a_minutes_worth_is_there_at_once_and_flows_in_again() -> None:
    """A burst is fine; twice as much a minute, for long, is not."""
    bucket = TokenBucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.seconds_until(1, 100.0) == 1.0
    assert bucket.seconds_until(1, 101.0) == 0.0
    assert bucket.level(1e6) == 60


def test_debt_is_waited_out() -> None:
    """What was used too much is not given away."""
    bucket = TokenBucket(60, 0.0)
    bucket.take(90, 0.0)
    assert bucket.level(0.0) == -30
    assert bucket.seconds_until(1, 0.0) == 31.0


def test_more_than_it_can_ever_hold_may_be_had_when_it_is_full() -> None:
    """Else a long prompt could never be sent."""
    bucket = TokenBucket(60, 0.0)
    assert bucket.seconds_until(600, 0.0) == 0.0
    bucket.take(30, 0.0)
    assert bucket.seconds_until(600, 0.0) == 30.0


def test_what_is_given_back_does_not_overflow() -> None:
    """An estimate far too high must not become credit."""
    bucket = TokenBucket(60, 0.0)
    bucket.take(-1000, 0.0)
    bucket.check_invariants()
    assert bucket.level(0.0) == 60


@pytest.mark.parametrize(("taken", "per_minute", "expected"), [(50, 600, 10), (0, 10, 10), (90, 600, -30)])
def test_another_size_keeps_what_was_there(taken: int, per_minute: int, expected: int) -> None:
    """Whoever is over a limit does not get a fresh minute by its being changed."""
    bucket = TokenBucket(60, 0.0)
    bucket.take(taken, 0.0)
    bucket.resize(per_minute, 0.0)
    assert (bucket.level(0.0), bucket.per_minute) == (expected, per_minute)
