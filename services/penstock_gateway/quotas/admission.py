"""Admission: bounds on what is under way, so that the excess hears so at once instead of waiting in vain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock_gateway.quotas.drain_rate import DrainRate
from penstock_gateway.requests import Criticality
from penstock_shared.errors import ResourceExhaustedError

_SHORTEST_RETRY_S = 0.1
_LONGEST_RETRY_S = 10.0
# How much of each bound a criticality may fill: what is left is kept for the more critical.
_SHARES: Mapping[Criticality, float] = {
    Criticality.SHEDDABLE: 0.7,
    Criticality.STANDARD: 0.9,
    Criticality.CRITICAL: 1.0,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is under way at once, or the most that may be."""

    num_requests: int
    num_tokens: int


@dataclass(slots=True)
class Ticket:
    """An admitted request's share of the bounds; give it back with `Admission.release`."""

    tenant: str
    num_tokens: int
    is_released: bool = False


@dataclass(slots=True)
class _Load:
    num_requests: int = 0
    num_tokens: int = 0

    def add(self, num_requests: int, num_tokens: int) -> None:
        self.num_requests += num_requests
        self.num_tokens += num_tokens


class Admission:
    """Counts requests and prompt tokens from admission to the terminal event, per tenant and in total.

    Args:
        total: bounds over all tenants.
        per_tenant: bounds of a tenant, as they are now.
        clock: monotonic seconds.
    """

    def __init__(self, *, total: Bounds, per_tenant: Callable[[str], Bounds], clock: Callable[[], float]) -> None:
        self._total_bounds = total
        self._bounds_of = per_tenant
        self._total = _Load()
        self._by_tenant: dict[str, _Load] = {}
        self._request_rate = DrainRate(clock)
        self._token_rate = DrainRate(clock)

    def __repr__(self) -> str:
        return f"Admission(requests={self._total.num_requests}, tokens={self._total.num_tokens})"

    @property
    def num_requests(self) -> int:
        """Requests under way."""
        return self._total.num_requests

    @property
    def num_tokens(self) -> int:
        """Prompt tokens (estimated until settled) under way."""
        return self._total.num_tokens

    def by_tenant(self) -> dict[str, Bounds]:
        """What each tenant has under way; those that have something."""
        return {tenant: Bounds(load.num_requests, load.num_tokens) for tenant, load in sorted(self._by_tenant.items())}

    def admit(self, tenant: str, criticality: Criticality, num_tokens: int) -> Ticket:
        """Takes room for a request of about `num_tokens` prompt tokens.

        Raises:
            ResourceExhaustedError: a bound is reached; says when room is likely.
        """
        share = _SHARES[criticality]
        load = self._by_tenant.get(tenant, _Load())
        self._check("tenant", load, self._bounds_of(tenant), share, num_tokens)
        self._check("total", self._total, self._total_bounds, share, num_tokens)
        self._by_tenant[tenant] = load
        for counted in (load, self._total):
            counted.add(1, num_tokens)
        return Ticket(tenant, num_tokens)

    def settle(self, ticket: Ticket, num_tokens: int) -> None:
        """Replaces the estimate by the prompt's real length. Never refuses: the work is done already."""
        change = num_tokens - ticket.num_tokens
        ticket.num_tokens = num_tokens
        for load in (self._by_tenant[ticket.tenant], self._total):
            load.add(0, change)

    def release(self, ticket: Ticket) -> None:
        """Gives the room back, once."""
        assert not ticket.is_released, "a ticket is released once"
        ticket.is_released = True
        load = self._by_tenant[ticket.tenant]
        for counted in (load, self._total):
            counted.add(-1, -ticket.num_tokens)
        if load.num_requests == 0:
            del self._by_tenant[ticket.tenant]
        self._request_rate.add(1)
        self._token_rate.add(ticket.num_tokens)

    def check_invariants(self) -> None:
        """The total is the sum over the tenants, and nothing is negative."""
        loads = self._by_tenant.values()
        assert self._total.num_requests == sum(load.num_requests for load in loads)
        assert self._total.num_tokens == sum(load.num_tokens for load in loads)
        assert all(load.num_requests > 0 and load.num_tokens >= 0 for load in loads)

    def _check(self, scope: str, load: _Load, bounds: Bounds, share: float, num_tokens: int) -> None:
        excess_requests = load.num_requests + 1 - bounds.num_requests * share
        if excess_requests > 0:
            raise _refusal(f"{scope}.requests", bounds.num_requests, excess_requests, self._request_rate)
        excess_tokens = load.num_tokens + num_tokens - bounds.num_tokens * share
        if excess_tokens > 0:
            raise _refusal(f"{scope}.prompt_tokens", bounds.num_tokens, excess_tokens, self._token_rate)


def _refusal(quota: str, bound: int, excess: float, rate: DrainRate) -> ResourceExhaustedError:
    retry_after_s = rate.seconds_until(excess, at_least_s=_SHORTEST_RETRY_S, at_most_s=_LONGEST_RETRY_S)
    return ResourceExhaustedError(
        f"the bound of {bound} on {quota} is reached; try again in {retry_after_s:.1f} s",
        quota=quota,
        retry_after_s=retry_after_s,
    )
