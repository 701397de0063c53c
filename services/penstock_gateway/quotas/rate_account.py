"""What one tenant has used of its rates."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penstock_gateway.quotas.token_bucket import TokenBucket
from penstock_shared.errors import ResourceExhaustedError


@dataclass(frozen=True, slots=True)
class Rates:
    """What a tenant may use a minute; None: any amount."""

    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None


class InputCharge:
    """The input tokens that a request was charged, by an estimate at first."""

    def __init__(self, bucket: TokenBucket | None, num_tokens: int, clock: Callable[[], float]) -> None:
        self._bucket = bucket
        self._num_tokens = num_tokens
        self._clock = clock

    def settle(self, num_tokens: int) -> None:
        """Charges the real number instead of the estimate; only the first call counts."""
        if self._bucket is not None:
            self._bucket.take(num_tokens - self._num_tokens, self._clock())
            self._bucket = None


class RateAccount:
    """A tenant's buckets. Without any limit, all of it costs next to nothing.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rates = Rates()
        self._requests: TokenBucket | None = None
        self._input_tokens: TokenBucket | None = None
        self._output_tokens: TokenBucket | None = None
        self._adopted_s = clock()

    def adopt(self, rates: Rates) -> None:
        """These rates hold from now on; what was used under those before stays used."""
        self._adopted_s = now_s = self._clock()
        if rates is self._rates or rates == self._rates:
            return
        self._rates = rates
        self._requests = _sized(self._requests, rates.requests_per_minute, now_s)
        self._input_tokens = _sized(self._input_tokens, rates.input_tokens_per_minute, now_s)
        self._output_tokens = _sized(self._output_tokens, rates.output_tokens_per_minute, now_s)

    def check(self, num_input_tokens: int) -> None:
        """Whether a generation with about so many input tokens may start. Takes nothing.

        Raises:
            ResourceExhaustedError: a rate is used up; names the one that takes longest, and says when it will not be.
        """
        now_s = self._clock()
        waits = [
            (bucket.seconds_until(amount, now_s), what, bucket.per_minute)
            for what, bucket, amount in (
                ("requests", self._requests, 1),
                ("input_tokens", self._input_tokens, num_input_tokens),
                ("output_tokens", self._output_tokens, 1),
            )
            if bucket is not None
        ]
        if waits:
            _refuse_until(*max(waits))

    def start(self, num_input_tokens: int) -> InputCharge:
        """Charges a generation that was checked: a request, and its input by estimate."""
        now_s = self._clock()
        if self._requests is not None:
            self._requests.take(1, now_s)
        if self._input_tokens is not None:
            self._input_tokens.take(num_input_tokens, now_s)
        return InputCharge(self._input_tokens, num_input_tokens, self._clock)

    def take_request(self) -> None:
        """Checks and charges a request that generates nothing.

        Raises:
            ResourceExhaustedError: as `check`.
        """
        if self._requests is not None:
            now_s = self._clock()
            _refuse_until(self._requests.seconds_until(1, now_s), "requests", self._requests.per_minute)
            self._requests.take(1, now_s)

    def output_meter(self) -> Callable[[int], None] | None:
        """What charges output tokens as they come; None where they are not limited: nothing is done for each then."""
        return None if self._output_tokens is None else self._take_output

    def is_idle(self, for_s: float) -> bool:
        """Whether nobody has asked for so long, and a fresh account would hold the same."""
        now_s = self._clock()
        return now_s - self._adopted_s >= for_s and all(
            bucket.level(now_s) == bucket.per_minute for bucket in self._buckets()
        )

    def check_invariants(self) -> None:
        """The buckets' own, and that they are of the rates' sizes."""
        rates = self._rates
        sizes = (rates.requests_per_minute, rates.input_tokens_per_minute, rates.output_tokens_per_minute)
        assert [bucket.per_minute for bucket in self._buckets()] == [size for size in sizes if size is not None]
        for bucket in self._buckets():
            bucket.check_invariants()

    def _take_output(self, num_tokens: int) -> None:
        if self._output_tokens is not None:
            self._output_tokens.take(num_tokens, self._clock())

    def _buckets(self) -> Iterator[TokenBucket]:
        buckets = (self._requests, self._input_tokens, self._output_tokens)
        return (bucket for bucket in buckets if bucket is not None)


def _sized(bucket: TokenBucket | None, per_minute: int | None, now_s: float) -> TokenBucket | None:
    """The bucket in another size; a new one where there was none; none where there is no limit."""
    if per_minute is None:
        return None
    if bucket is None:
        return TokenBucket(per_minute, now_s)
    bucket.resize(per_minute, now_s)
    return bucket


def _refuse_until(wait_s: float, what: str, per_minute: int) -> None:
    """Raises where there is something to wait for."""
    if wait_s == 0:
        return
    # Rounded up: who comes back then must get in.
    retry_after_s = math.ceil(wait_s * 1000) / 1000
    quota = f"tenant.{what}_per_minute"
    raise ResourceExhaustedError(
        f"the rate of {per_minute} on {quota} is used up; try again in {retry_after_s:g} s",
        quota=quota,
        retry_after_s=retry_after_s,
    )
