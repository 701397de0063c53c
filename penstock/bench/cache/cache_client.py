"""Calls of the cache service in plain values, for one tenant."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc

from penstock.bench.cache.policy import Policy
from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.client.channel import channel_options
from penstock.client.errors import error_from_call
from penstock.types.v1 import types_pb2

_NAME = "penstock-bench"
_CONTEXT_DIGEST = hashlib.sha256(b"penstock bench cache").digest()
_USAGE = types_pb2.Usage(prompt_tokens=20, completion_tokens=60)


class Outcome(Enum):
    """What a lookup came to."""

    MISS = cache_pb2.LOOKUP_OUTCOME_MISS
    EXACT_HIT = cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    SEMANTIC_HIT = cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT
    EXPLORE = cache_pb2.LOOKUP_OUTCOME_EXPLORE


@dataclass(frozen=True, slots=True)
class Looked:
    """A lookup's answer.

    Attributes:
        outcome: what it came to.
        entry_id: of what is served or explored; empty: nothing.
        exploration_token: to be given back with the model's answer; empty: none.
        reason: in the service's words.
    """

    outcome: Outcome
    entry_id: str
    exploration_token: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of storing an answer.

    Attributes:
        entry_id: of the answer; empty: it was refused.
        is_equivalent: what the service took the exploration to show; None: nothing.
    """

    entry_id: str
    is_equivalent: bool | None


@dataclass(frozen=True, slots=True)
class OwnCount:
    """What the service counts and estimates of itself; None where it has no estimate."""

    num_semantic_lookups: int
    num_audits: int
    num_semantic_failures: int
    error_rate: float | None
    error_rate_bound: float | None
    wrong_per_served: float | None


class CacheClient:
    """A connection to a cache service.

    Args:
        address: host:port.
        metadata: shows the fleet credential.
        timeout_s: deadline of each call.

    All calls raise PenstockError.
    """

    def __init__(self, address: str, metadata: Sequence[tuple[str, str]], timeout_s: float) -> None:
        self._channel = grpc.insecure_channel(address, options=channel_options(address))
        self._stub = cache_pb2_grpc.CacheServiceStub(self._channel)
        self._metadata = tuple(metadata)
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def look_up(self, tenant: str, prompt: str, policy: Policy) -> Looked:
        """Looks for an answer to a prompt."""
        request = cache_pb2.LookupRequest(key=_key(tenant, prompt))
        setattr(request, policy.kind.value, policy.value)
        response = self._call(self._stub.Lookup, request)
        return Looked(
            outcome=Outcome(response.outcome),
            entry_id=response.answer.entry_id,
            exploration_token=response.exploration_token,
            reason=response.reason,
        )

    def put(
        self,
        tenant: str,
        prompt: str,
        answer: str,
        *,
        exploration_token: bytes = b"",
        is_equivalent: bool | None = None,
    ) -> Kept:
        """Stores an answer, and reports what an exploration showed."""
        request = cache_pb2.PutRequest(
            key=_key(tenant, prompt),
            answer=cache_pb2.CachedAnswer(
                choices=[cache_pb2.CachedChoice(text=answer, finish_reason=types_pb2.FINISH_REASON_STOP)],
                usage=_USAGE,
                model_revision=_NAME,
            ),
            exploration_token=exploration_token,
            is_equivalent=is_equivalent,
        )
        response = self._call(self._stub.Put, request)
        learned = response.is_equivalent if response.HasField("is_equivalent") else None
        return Kept(response.entry_id if response.is_stored else "", learned)

    def own_count(self, tenant: str) -> OwnCount:
        """What the service counts of itself for the tenant."""
        response = self._call(self._stub.GetStats, cache_pb2.GetStatsRequest(tenant=tenant))
        return OwnCount(
            num_semantic_lookups=response.num_semantic_lookups,
            num_audits=response.num_audits,
            num_semantic_failures=response.num_semantic_failures,
            error_rate=response.error_rate if response.HasField("error_rate") else None,
            error_rate_bound=response.error_rate_bound if response.HasField("error_rate_bound") else None,
            wrong_per_served=response.wrong_per_served if response.HasField("wrong_per_served") else None,
        )

    def remove(self, tenant: str) -> None:
        """Removes all that the tenant has."""
        self._call(self._stub.Invalidate, cache_pb2.InvalidateRequest(tenant=tenant, all=True))

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_from_call(error) from error


def _key(tenant: str, prompt: str) -> cache_pb2.CacheKey:
    return cache_pb2.CacheKey(
        tenant=tenant,
        exact_digest=hashlib.sha256(prompt.encode()).digest(),
        context_digest=_CONTEXT_DIGEST,
        prompt=prompt,
        model=_NAME,
    )
