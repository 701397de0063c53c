"""The cache service as requests use it: never the client's error, and never more of its time than a budget."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_gateway.cache.answer_key import AnswerKey
from penstock_gateway.cache.cache_messages import lookup_message, put_message, report_of, stored_answer
from penstock_gateway.cache.lookup_breakers import LookupBreakers, Reach
from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_gateway.events import CacheOutcome, CacheReport
from penstock_gateway.requests import CachePolicy

_PUT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a lookup came to: the answer on a hit, the token to send back with the model's answer on an exploration."""

    report: CacheReport
    answer: StoredAnswer | None = None
    exploration_token: bytes = b""


class CacheClient:
    """Calls `CacheService`.

    Args:
        channel: to the service.
        clock: monotonic seconds, by which lookups are left out while the service keeps failing.
        lookup_budget_s: the longest that a lookup may take.
    """

    def __init__(self, channel: grpc.aio.Channel, clock: Callable[[], float], *, lookup_budget_s: float) -> None:
        self._stub = cache_pb2_grpc.CacheServiceStub(channel)
        self._breakers = LookupBreakers(clock)
        self._lookup_budget_s = lookup_budget_s

    async def look_up(self, key: AnswerKey, *, max_error_rate: float) -> Finding:
        """A kept answer that serves the request, if there is one and the service says so in time."""
        wanted = Reach.EXACT if key.semantic is None else Reach.MEANING
        reach = self._breakers.allow(wanted)
        if reach is Reach.NOTHING:
            return _skipped("the cache kept failing and is left out for a while")
        if reach is wanted:
            return await self._look_up(key, reach, max_error_rate)
        finding = await self._look_up(key.exact_only(), reach, max_error_rate)
        return _without_meaning(finding)

    async def _look_up(self, key: AnswerKey, reach: Reach, max_error_rate: float) -> Finding:
        message = lookup_message(key, max_error_rate=max_error_rate)
        try:
            response = await self._stub.Lookup(message, timeout=self._lookup_budget_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._breakers.was_late(reach)
                return _skipped(f"the cache did not answer within {self._lookup_budget_s * 1000:.0f} ms")
            self._breakers.failed(reach)
            return _skipped(f"the cache failed: {error.code().name}")
        except BaseException:
            self._breakers.abandoned(reach)
            raise
        is_compared = response.outcome != cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
        self._breakers.succeeded(reach, is_compared=is_compared)
        return _finding(response, max_error_rate=None if key.semantic is None else max_error_rate)

    async def put(
        self, key: AnswerKey, answer: StoredAnswer, policy: CachePolicy, *, exploration_token: bytes = b""
    ) -> bool | None:
        """Hands an answer over. Returns what an exploration came to: whether it says what the stored one does.

        Raises:
            grpc.aio.AioRpcError: it could not be kept.
        """
        message = put_message(key, answer, policy, exploration_token=exploration_token)
        response = await self._stub.Put(message, timeout=_PUT_TIMEOUT_S)
        return response.is_equivalent if response.HasField("is_equivalent") else None


def _skipped(reason: str) -> Finding:
    return Finding(CacheReport(CacheOutcome.SKIPPED, reason))


def _without_meaning(finding: Finding) -> Finding:
    """A miss of a lookup that would have compared prompts, had that not been left out."""
    if finding.report.outcome is not CacheOutcome.MISS:
        return finding
    reason = "comparing by meaning kept being late and is left out for a while"
    return Finding(replace(finding.report, reason=reason))


def _finding(response: cache_pb2.LookupResponse, *, max_error_rate: float | None) -> Finding:
    report = report_of(response, max_error_rate=max_error_rate)
    if report.outcome is CacheOutcome.EXPLORED:
        return Finding(report, exploration_token=response.exploration_token)
    if report.outcome is CacheOutcome.MISS:
        return Finding(report)
    answer = stored_answer(response.answer)
    if report.outcome is CacheOutcome.SEMANTIC_HIT and not answer.is_complete:
        return Finding(replace(report, outcome=CacheOutcome.MISS, reason="the answer found is not complete"))
    return Finding(report, answer)
