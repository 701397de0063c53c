"""What a tenant may use a minute, and what it is told when that is used up."""

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from penstock_gateway.quotas.rate_account import InputCharge, Rates
from penstock_gateway.quotas.rate_limiter import RateLimiter
from penstock_shared.errors import ResourceExhaustedError


def limiter(clock: FakeClock, **rates: int) -> RateLimiter:
    """The same rates for everybody."""
    return RateLimiter(lambda _tenant: Rates(**rates), clock)


def refusal(rates: RateLimiter, tenant: str = "a", num_input_tokens: int = 1) -> ResourceExhaustedError:
    """What a request is told."""
    with pytest.raises(ResourceExhaustedError) as caught:
        rates.account(tenant).check(num_input_tokens)
    return caught.value


def charge_output(rates: RateLimiter, tenant: str, num_tokens: int) -> None:
    """Output of a tenant comes."""
    meter = rates.account(tenant).output_meter()
    assert meter is not None
    meter(num_tokens)


def test_requests_over_the_rate_are_refused_and_told_the_true_time() -> None:
    """Whoever comes back then gets in; a moment earlier, not."""
    clock = FakeClock()
    rates = limiter(clock, requests_per_minute=7)
    for _ in range(7):
        rates.account("a").check(1)
        rates.account("a").start(1)
    error = refusal(rates)
    assert (error.quota, error.retry_after_s) == ("tenant.requests_per_minute", 8.572)
    assert error.message == "the rate of 7 on tenant.requests_per_minute is used up; try again in 8.572 s"
    clock.advance(8.57)
    refusal(rates)
    clock.advance(0.002)
    rates.account("a").check(1)


def test_of_several_used_up_rates_the_slowest_is_told() -> None:
    """Another refusal after the wait would make the first one a lie."""
    rates = limiter(FakeClock(), requests_per_minute=60, input_tokens_per_minute=60, output_tokens_per_minute=60)
    for _ in range(60):
        rates.account("a").start(1)
    charge_output(rates, "a", 80)
    error = refusal(rates, num_input_tokens=10)
    assert (error.quota, error.retry_after_s) == ("tenant.output_tokens_per_minute", 21.0)


def test_a_tenant_does_not_use_up_what_another_has() -> None:
    """That is what tenants are for."""
    rates = limiter(FakeClock(), requests_per_minute=1)
    rates.account("a").start(1)
    refusal(rates, "a")
    rates.account("b").check(1)


def test_input_is_charged_by_estimate_and_settled_at_its_real_length() -> None:
    """An estimate too high is given back, one too low is owed."""
    clock = FakeClock()
    rates = limiter(clock, input_tokens_per_minute=60)
    charge = rates.account("a").start(50)
    assert refusal(rates, num_input_tokens=11).quota == "tenant.input_tokens_per_minute"
    charge.settle(20)
    charge.settle(0)  # the end of the request: it is settled
    rates.account("a").check(40)
    assert refusal(rates, num_input_tokens=41).retry_after_s == 1.0
    rates.account("a").start(10).settle(100)
    assert refusal(rates, num_input_tokens=1).retry_after_s == 61.0


def test_output_goes_into_debt_and_the_debt_is_waited_out() -> None:
    """A stream is not cut in the middle; the next request waits."""
    clock = FakeClock()
    rates = limiter(clock, output_tokens_per_minute=60)
    meter = rates.account("a").output_meter()
    assert meter is not None
    for _ in range(90):
        meter(1)
    error = refusal(rates)
    assert (error.quota, error.retry_after_s) == ("tenant.output_tokens_per_minute", 31.0)
    clock.advance(31.0)
    rates.account("a").check(1)


def test_output_that_is_not_limited_is_not_counted() -> None:
    """Nothing is done for a token that nobody asks about."""
    assert limiter(FakeClock(), requests_per_minute=1).account("a").output_meter() is None


def test_counting_tokens_is_a_request_and_needs_no_output() -> None:
    """It runs no model."""
    rates = limiter(FakeClock(), requests_per_minute=2, output_tokens_per_minute=1)
    charge_output(rates, "a", 100)
    rates.account("a").take_request()
    rates.account("a").take_request()
    with pytest.raises(ResourceExhaustedError, match="requests_per_minute"):
        rates.account("a").take_request()


def test_changed_rates_hold_at_once_and_keep_what_was_used() -> None:
    """The operator's edit counts for those who are over the limit already, and for streams that run."""
    clock, now = FakeClock(), {"a": Rates(output_tokens_per_minute=60)}
    rates = RateLimiter(lambda tenant: now[tenant], clock)
    meter = rates.account("a").output_meter()
    assert meter is not None
    meter(60)
    now["a"] = Rates(output_tokens_per_minute=120)
    assert refusal(rates).retry_after_s == 0.5
    meter(20)
    assert refusal(rates).retry_after_s == 10.5
    now["a"] = Rates()
    rates.account("a").check(1)
    meter(1)


def test_idle_tenants_are_forgotten_and_those_in_debt_are_not() -> None:
    """Tokens can name any number of tenants; memory must not grow with them, nor debts vanish."""
    clock = FakeClock()
    rates = limiter(clock, requests_per_minute=60)
    for _ in range(60_000):
        rates.account("debtor").start(1)
    for number in range(3000):
        rates.account(f"tenant-{number}").check(1)
        clock.advance(10)
    assert len(rates._accounts) <= 1025
    assert refusal(rates, "debtor").retry_after_s == 60_000 - 60 + 1 - 30_000


def wait_of(rates: RateLimiter, tenant: str, amount: int) -> float:
    """How long a request is told to wait; 0 where it need not."""
    try:
        rates.account(tenant).check(amount)
    except ResourceExhaustedError as error:
        return error.retry_after_s or 0.0
    return 0.0


EVENTS = st.lists(
    st.tuples(st.sampled_from(["start", "settle", "output", "wait"]), st.sampled_from("ab"), st.integers(0, 40)),
    max_size=80,
)


@given(EVENTS)
def test_no_history_gets_more_than_the_rates(events: list[tuple[str, str, int]]) -> None:
    """Requests: a minute's worth, and what flowed in since. A refusal's time is true whatever happened before."""
    clock = FakeClock()
    rates = limiter(clock, requests_per_minute=5, input_tokens_per_minute=100, output_tokens_per_minute=50)
    started: dict[str, int] = {"a": 0, "b": 0}
    charges: list[InputCharge] = []
    for action, tenant, amount in events:
        if action == "start":
            clock.advance(wait_of(rates, tenant, amount))
            assert wait_of(rates, tenant, amount) == 0
            charges.append(rates.account(tenant).start(amount))
            started[tenant] += 1
        elif action == "settle" and charges:
            charges.pop(0).settle(amount)
        elif action == "output":
            charge_output(rates, tenant, amount)
        else:
            clock.advance(amount)
        rates.check_invariants()
        assert all(count <= 5 + clock() * 5 / 60 + 1e-6 for count in started.values())
