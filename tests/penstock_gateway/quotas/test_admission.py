"""What is under way is bounded, and the excess is told when there will be room."""

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from penstock_gateway.quotas.admission import Admission, Bounds, Ticket
from penstock_gateway.requests import Criticality
from penstock_shared.errors import ResourceExhaustedError

STANDARD = Criticality.STANDARD
ROOMY = Bounds(1000, 1_000_000)


def admission(clock: FakeClock | None = None, *, total: Bounds = ROOMY, per_tenant: Bounds = ROOMY) -> Admission:
    """With bounds that are out of the way unless given."""
    return Admission(total=total, per_tenant=lambda _tenant: per_tenant, clock=clock or FakeClock())


@pytest.mark.parametrize(
    ("criticality", "admitted"),
    [(Criticality.SHEDDABLE, 7), (Criticality.STANDARD, 9), (Criticality.CRITICAL, 10)],
)
def test_the_less_critical_is_shed_first(criticality: Criticality, admitted: int) -> None:
    """The rest of the bound is kept for what matters more."""
    gate = admission(total=Bounds(10, 1_000_000))
    for _ in range(admitted):
        gate.admit("a", criticality, 1)
    with pytest.raises(ResourceExhaustedError) as caught:
        gate.admit("a", criticality, 1)
    assert caught.value.quota == "total.requests"


def test_prompt_tokens_are_bounded_too() -> None:
    """A few huge prompts weigh as much as many small ones."""
    gate = admission(total=Bounds(1000, 1000))
    gate.admit("a", STANDARD, 500)
    with pytest.raises(ResourceExhaustedError) as caught:
        gate.admit("a", STANDARD, 401)
    assert caught.value.quota == "total.prompt_tokens"
    gate.admit("a", STANDARD, 400)


def test_one_tenant_cannot_take_the_room_of_another() -> None:
    """Its own bound is reached before the total."""
    gate = admission(per_tenant=Bounds(2, 1_000_000))
    gate.admit("a", STANDARD, 1)
    with pytest.raises(ResourceExhaustedError) as caught:
        gate.admit("a", STANDARD, 1)
    assert caught.value.quota == "tenant.requests"
    gate.admit("b", STANDARD, 1)


def test_a_released_ticket_makes_room() -> None:
    """And a settled one counts with its real length."""
    gate = admission(total=Bounds(1000, 100))
    ticket = gate.admit("a", STANDARD, 80)
    gate.settle(ticket, 10)
    second = gate.admit("a", STANDARD, 80)
    gate.release(ticket)
    gate.release(second)
    assert (gate.num_requests, gate.num_tokens) == (0, 0)


def test_the_retry_hint_comes_from_the_measured_drain_rate() -> None:
    """Told to come back too soon, callers would only be refused again."""
    clock = FakeClock()
    gate = admission(clock, total=Bounds(10, 1_000_000))
    tickets = [gate.admit("a", Criticality.CRITICAL, 1) for _ in range(10)]
    for _ in range(100):
        clock.advance(0.5)
        gate.release(tickets.pop())
        tickets.append(gate.admit("a", Criticality.CRITICAL, 1))
    with pytest.raises(ResourceExhaustedError) as caught:
        gate.admit("a", Criticality.CRITICAL, 1)
    assert caught.value.retry_after_s == pytest.approx(0.5, rel=0.1)


def test_without_a_measured_rate_the_hint_is_the_longest() -> None:
    """Nothing has drained, so nothing is promised."""
    gate = admission(total=Bounds(1, 1_000_000))
    gate.admit("a", Criticality.CRITICAL, 1)
    with pytest.raises(ResourceExhaustedError) as caught:
        gate.admit("a", Criticality.CRITICAL, 1)
    assert caught.value.retry_after_s == 10.0


@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "settle", "release"]), st.sampled_from("abc"), st.integers(0, 50)),
        max_size=60,
    )
)
def test_the_books_balance_after_any_history(events: list[tuple[str, str, int]]) -> None:
    """A leak here would close the gateway for ever."""
    gate = admission(total=Bounds(8, 200), per_tenant=Bounds(4, 120))
    tickets: list[Ticket] = []
    for action, tenant, amount in events:
        if action == "admit":
            try:
                tickets.append(gate.admit(tenant, STANDARD, amount))
            except ResourceExhaustedError:
                assert gate.num_requests > 0 or amount > 0
        elif tickets and action == "settle":
            gate.settle(tickets[amount % len(tickets)], amount)
        elif tickets:
            gate.release(tickets.pop(amount % len(tickets)))
        gate.check_invariants()
        assert gate.num_requests == len(tickets)
