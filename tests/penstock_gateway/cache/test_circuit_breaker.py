"""The breaker, on a clock of its own."""

import pytest
from fakes.clock import FakeClock

from penstock_gateway.cache.circuit_breaker import CircuitBreaker


@pytest.fixture
def clock() -> FakeClock:
    """Time under the test's control."""
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    """Opens at the third failure, for 1 s at first and for 4 s at most."""
    return CircuitBreaker(clock, max_failures=3, shortest_open_s=1, longest_open_s=4)


def fail(breaker: CircuitBreaker, count: int) -> None:
    """Calls that are let through and fail."""
    for _ in range(count):
        assert breaker.allow()
        breaker.failed()


def test_it_opens_at_consecutive_failures_only(breaker: CircuitBreaker) -> None:
    """A failure now and then is no outage."""
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 3)
    assert not breaker.allow()
    assert repr(breaker) == "CircuitBreaker(open, failures=3)"


def test_one_probe_is_let_through_when_its_time_has_come(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """A service that comes back must not be met by everybody at once, nor everybody wait for a dead one."""
    fail(breaker, 3)
    clock.advance(0.9)
    assert not breaker.allow()
    clock.advance(0.1)
    assert [breaker.allow() for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes_it(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Everything is as at the beginning."""
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.allow()
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.allow()


def test_each_probe_that_fails_doubles_the_wait_up_to_a_bound(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """A long outage costs one request now and then, and its end is still noticed."""
    fail(breaker, 3)
    for wait_s, next_wait_s in ((1, 2), (2, 4), (4, 4)):
        clock.advance(wait_s)
        fail(breaker, 1)
        clock.advance(next_wait_s - 0.1)
        assert not breaker.allow()
        clock.advance(0.1 - next_wait_s)
    clock.advance(4)
    assert breaker.allow()
    breaker.succeeded()
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.allow()


def test_a_probe_whose_caller_left_makes_room_for_another(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Else one cancelled request would keep it open for ever."""
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.allow()
    breaker.abandoned()
    assert breaker.allow()


def test_late_failures_do_not_prolong_an_open_one(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Calls that were under way when it opened end in their own time."""
    fail(breaker, 2)
    assert all([breaker.allow(), breaker.allow()])
    breaker.failed()
    clock.advance(0.9)
    breaker.failed()
    clock.advance(0.1)
    assert breaker.allow()
