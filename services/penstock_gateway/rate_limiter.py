"""Rate limits: how many requests, input tokens and output tokens a tenant may use a minute.

Apart from admission, which bounds what is under way at once. Requests and input tokens must be there beforehand; output
tokens are charged as they come, into debt if need be, and the debt is waited out before the next request.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from penstock_gateway.token_bucket import TokenBucket
from penstock_shared.errors import ResourceExhaustedError

# Above it, tenants whose buckets are full are forgotten: a fresh bucket is full too.
_MAX_IDLE_TENANTS = 1024


@dataclass(frozen=True, slots=True)
class Rates:
    """What a tenant may use a minute; None: any amount."""

    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class _Buckets:
    """Those of one tenant; None where there is no limit."""

    rates: Rates
    requests: TokenBucket | None
    input_tokens: TokenBucket | None
    output_tokens: TokenBucket | None

    @classmethod
    def for_rates(cls, rates: Rates, before: "_Buckets", now_s: float) -> "_Buckets":
        """Buckets for these rates, which go on from those before."""
        return cls(
            rates,
            _make(rates.requests_per_minute, before.requests, now_s),
            _make(rates.input_tokens_per_minute, before.input_tokens, now_s),
            _make(rates.output_tokens_per_minute, before.output_tokens, now_s),
        )

    def all(self) -> Iterator[TokenBucket]:
        yield from (bucket for bucket in (self.requests, self.input_tokens, self.output_tokens) if bucket is not None)


@dataclass(frozen=True, slots=True)
class _Wait:
    """Until when a rate keeps a request out."""

    what: str
    per_minute: int
    seconds: float


_UNLIMITED = _Buckets(Rates(), None, None, None)


class RateLimiter:
    """Keeps the buckets of all tenants.

    Args:
        rates_of: what a tenant may use now.
        clock: monotonic seconds.
    """

    def __init__(self, rates_of: Callable[[str], Rates], clock: Callable[[], float]) -> None:
        self._rates_of = rates_of
        self._clock = clock
        self._by_tenant: dict[str, _Buckets] = {}

    def __repr__(self) -> str:
        return f"RateLimiter(tenants={len(self._by_tenant)})"

    def check(self, tenant: str, num_input_tokens: int) -> None:
        """Whether a generation with about so many input tokens may start. Takes nothing.

        Raises:
            ResourceExhaustedError: a rate is used up; names the one that takes longest, and says when it will not be.
        """
        buckets, now_s = self._buckets(tenant), self._clock()
        waits = (
            _wait("requests", buckets.requests, 1, now_s),
            _wait("input_tokens", buckets.input_tokens, num_input_tokens, now_s),
            _wait("output_tokens", buckets.output_tokens, 1, now_s),
        )
        _refuse(max(waits, key=lambda wait: wait.seconds))

    def start(self, tenant: str, num_input_tokens: int) -> "InputCharge":
        """Charges a generation that was checked: a request, and its input by estimate."""
        buckets, now_s = self._buckets(tenant), self._clock()
        if buckets.requests is not None:
            buckets.requests.take(1, now_s)
        self.take_input(tenant, num_input_tokens)
        return InputCharge(self, tenant, num_input_tokens)

    def take_input(self, tenant: str, num_tokens: int) -> None:
        """Charges input tokens; a negative number is given back."""
        bucket = self._buckets(tenant).input_tokens
        if bucket is not None:
            bucket.take(num_tokens, self._clock())

    def take_output(self, tenant: str, num_tokens: int) -> None:
        """Charges output tokens that came, enough or not."""
        bucket = self._buckets(tenant).output_tokens
        if bucket is not None:
            bucket.take(num_tokens, self._clock())

    def take_request(self, tenant: str) -> None:
        """Checks and charges a request that generates nothing.

        Raises:
            ResourceExhaustedError: as `check`.
        """
        buckets, now_s = self._buckets(tenant), self._clock()
        _refuse(_wait("requests", buckets.requests, 1, now_s))
        if buckets.requests is not None:
            buckets.requests.take(1, now_s)

    def output_meter(self, tenant: str) -> Callable[[int], None] | None:
        """What charges output tokens as they come; None where they are not limited: nothing is done for each then."""
        if self._rates_of(tenant).output_tokens_per_minute is None:
            return None
        return partial(self.take_output, tenant)

    def check_invariants(self) -> None:
        """No bucket holds more than a minute's worth."""
        for buckets in self._by_tenant.values():
            for bucket in buckets.all():
                bucket.check_invariants()

    def _buckets(self, tenant: str) -> _Buckets:
        rates, known = self._rates_of(tenant), self._by_tenant.get(tenant)
        if known is not None and known.rates == rates:
            return known
        if known is None and len(self._by_tenant) >= _MAX_IDLE_TENANTS:
            self._forget_idle()
        made = self._by_tenant[tenant] = _Buckets.for_rates(rates, known or _UNLIMITED, self._clock())
        return made

    def _forget_idle(self) -> None:
        now_s = self._clock()
        for tenant, buckets in list(self._by_tenant.items()):
            if all(bucket.level(now_s) == bucket.per_minute for bucket in buckets.all()):
                del self._by_tenant[tenant]


class InputCharge:
    """The input tokens that a request was charged, by an estimate at first."""

    def __init__(self, limiter: RateLimiter, tenant: str, num_tokens: int) -> None:
        self._limiter = limiter
        self._tenant = tenant
        self._num_tokens = num_tokens
        self._is_settled = False

    def settle(self, num_tokens: int) -> None:
        """Charges the real number instead of the estimate; only the first call counts."""
        if not self._is_settled:
            self._is_settled = True
            self._limiter.take_input(self._tenant, num_tokens - self._num_tokens)


def _make(per_minute: int | None, before: TokenBucket | None, now_s: float) -> TokenBucket | None:
    """A bucket of that size, which goes on from the one before."""
    if per_minute is None:
        return None
    return TokenBucket(per_minute, now_s) if before is None else before.resized(per_minute, now_s)


def _wait(what: str, bucket: TokenBucket | None, amount: int, now_s: float) -> _Wait:
    if bucket is None:
        return _Wait(what, 0, 0.0)
    return _Wait(what, bucket.per_minute, bucket.seconds_until(amount, now_s))


def _refuse(wait: _Wait) -> None:
    """Raises where there is something to wait for."""
    if wait.seconds == 0:
        return
    # Rounded up: who comes back then must get in.
    retry_after_s = math.ceil(wait.seconds * 1000) / 1000
    quota = f"tenant.{wait.what}_per_minute"
    raise ResourceExhaustedError(
        f"the rate of {wait.per_minute} on {quota} is used up; try again in {retry_after_s:g} s",
        quota=quota,
        retry_after_s=retry_after_s,
    )
