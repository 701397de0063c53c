"""How far lookups go while the cache is late or fails, on a clock of their own."""

from collections.abc import Callable

import pytest
from fakes.clock import FakeClock

from penstock_gateway.cache.lookup_breakers import LookupBreakers, Reach

EXACT, MEANING, NOTHING = Reach.EXACT, Reach.MEANING, Reach.NOTHING
# As many in a row open a breaker.
MANY = 5


@pytest.fixture
def clock() -> FakeClock:
    """Time under the test's control."""
    return FakeClock()


@pytest.fixture
def breakers(clock: FakeClock) -> LookupBreakers:
    """Both closed."""
    return LookupBreakers(clock)


def repeat(breakers: LookupBreakers, end: Callable[[Reach], None], count: int = MANY) -> list[Reach]:
    """Lookups that want meaning and end alike; gives how far each went."""
    reached = []
    for _ in range(count):
        reached.append(breakers.allow(MEANING))
        end(reached[-1])
    return reached


def test_late_comparisons_leave_exact_lookups_alone(breakers: LookupBreakers) -> None:
    """The encoder is slow, not the service."""
    assert repeat(breakers, breakers.was_late) == [MEANING] * MANY
    assert breakers.allow(MEANING) is EXACT
    breakers.succeeded(EXACT, is_compared=True)
    assert breakers.allow(EXACT) is EXACT


def test_a_service_that_is_late_with_everything_is_left_out(breakers: LookupBreakers) -> None:
    """First the comparison, then, as that was not it, all."""
    assert repeat(breakers, breakers.was_late, 2 * MANY) == [MEANING] * MANY + [EXACT] * MANY
    assert (breakers.allow(MEANING), breakers.allow(EXACT)) == (NOTHING, NOTHING)


def test_a_service_that_fails_is_left_out_at_once(breakers: LookupBreakers) -> None:
    """An error says that it is not there, whatever was asked."""
    assert repeat(breakers, breakers.failed) == [MEANING] * MANY
    assert breakers.allow(EXACT) is NOTHING


def test_one_lookup_tries_whether_comparing_is_in_time_again(breakers: LookupBreakers, clock: FakeClock) -> None:
    """The others go on with the exact layer meanwhile."""
    repeat(breakers, breakers.was_late)
    clock.advance(1)
    assert [breakers.allow(MEANING) for _ in range(3)] == [MEANING, EXACT, EXACT]
    breakers.succeeded(MEANING, is_compared=True)
    assert breakers.allow(MEANING) is MEANING


@pytest.mark.parametrize("is_abandoned", [True, False])
def test_a_try_that_compared_nothing_makes_room_for_another(
    breakers: LookupBreakers, clock: FakeClock, is_abandoned: bool
) -> None:
    """Its caller left, or an exact answer was there: else it would stay left out for ever, or come back too early."""
    repeat(breakers, breakers.was_late)
    clock.advance(1)
    assert breakers.allow(MEANING) is MEANING
    if is_abandoned:
        breakers.abandoned(MEANING)
    else:
        breakers.succeeded(MEANING, is_compared=False)
    assert [breakers.allow(MEANING) for _ in range(2)] == [MEANING, EXACT]


def test_exact_hits_do_not_hide_that_comparing_is_late(breakers: LookupBreakers) -> None:
    """Popular questions come between others."""
    for _ in range(MANY):
        repeat(breakers, breakers.was_late, 1)
        assert breakers.allow(MEANING) in {MEANING, EXACT}
        breakers.succeeded(MEANING, is_compared=False)
    assert breakers.allow(MEANING) is EXACT
