"""The cache service as the gateway uses it: never the client's error, and never more of its time than a budget."""

from dataclasses import dataclass

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_gateway.cache.cache_messages import invalidate_messages, lookup_message, put_message, stored_answer
from penstock_gateway.cache.circuit_breaker import CircuitBreaker
from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_gateway.events import CacheOutcome, CacheReport
from penstock_shared.errors import UnavailableError

LOOKUP_BUDGET_S = 0.05
_PUT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a lookup came to; the answer on a hit."""

    report: CacheReport
    answer: StoredAnswer | None = None


class CacheClient:
    """Calls `CacheService`.

    Args:
        channel: to the service.
        breaker: leaves out lookups while the service keeps failing.
        lookup_budget_s: the longest that a lookup may take.
    """

    def __init__(
        self, channel: grpc.aio.Channel, breaker: CircuitBreaker, *, lookup_budget_s: float = LOOKUP_BUDGET_S
    ) -> None:
        self._stub = cache_pb2_grpc.CacheServiceStub(channel)
        self._breaker = breaker
        self._lookup_budget_s = lookup_budget_s

    async def look_up(self, tenant: str, digest: bytes) -> Finding:
        """The kept answer to the very same request, if there is one and the service says so in time."""
        if not self._breaker.allow():
            return _skipped("the cache kept failing and is left out for a while")
        try:
            response = await self._stub.Lookup(lookup_message(tenant, digest), timeout=self._lookup_budget_s)
        except grpc.aio.AioRpcError as error:
            self._breaker.failed()
            return _skipped(_why(error, self._lookup_budget_s))
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        if response.outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT:
            return Finding(CacheReport(CacheOutcome.EXACT_HIT, response.reason), stored_answer(response.answer))
        return Finding(CacheReport(CacheOutcome.MISS, response.reason))

    async def put(
        self, tenant: str, digest: bytes, answer: StoredAnswer, *, ttl_s: float | None, tags: tuple[str, ...]
    ) -> None:
        """Hands an answer over.

        Raises:
            grpc.aio.AioRpcError: it could not be kept.
        """
        message = put_message(tenant, digest, answer, ttl_s=ttl_s, tags=tags)
        await self._stub.Put(message, timeout=_PUT_TIMEOUT_S)

    async def invalidate(self, tenant: str, tags: tuple[str, ...], *, timeout_s: float) -> int:
        """Removes a tenant's answers that carry any of `tags`, or all where there are none; gives how many went.

        Raises:
            UnavailableError: the cache did not do it, or not all of it.
        """
        num_removed = 0
        for message in invalidate_messages(tenant, tags):
            try:
                response = await self._stub.Invalidate(message, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                raise UnavailableError(f"the cache failed: {error.code().name}: {error.details()}") from error
            num_removed += response.num_removed
        return num_removed


def _skipped(reason: str) -> Finding:
    return Finding(CacheReport(CacheOutcome.SKIPPED, reason))


def _why(error: grpc.aio.AioRpcError, budget_s: float) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the cache did not answer within {budget_s * 1000:.0f} ms"
    return f"the cache failed: {error.code().name}"
