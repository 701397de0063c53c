"""A CacheService in memory that takes the share of common words for meaning."""
# ruff: noqa: N802 - gRPC names methods

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc

SERVED_FROM = 0.5


class WordCache(cache_pb2_grpc.CacheServiceServicer):
    """As a context manager it listens. Under a maximum error rate it serves from half of the words on, else explores.

    Attributes:
        address: host:port.
        lookups, puts: the requests that came.
        num_compared: lookups that found a candidate, by tenant.
        removed: tenants of which everything was removed.
        finds_meaning: whether there is a semantic layer.
        failure: with which every call ends, while it is set.
        metadata: of the last call.
    """

    def __init__(self) -> None:
        self.lookups: list[cache_pb2.LookupRequest] = []
        self.puts: list[cache_pb2.PutRequest] = []
        self.num_compared: Counter[str] = Counter()
        self.removed: list[str] = []
        self.finds_meaning = True
        self.failure: grpc.StatusCode | None = None
        self.metadata: dict[str, str] = {}
        self._server = grpc.server(ThreadPoolExecutor(2))
        cache_pb2_grpc.add_CacheServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def Lookup(self, request: cache_pb2.LookupRequest, context: Any) -> cache_pb2.LookupResponse:
        """Exact, else by words."""
        self._come(context)
        self.lookups.append(request)
        stored = [(number, put) for number, put in enumerate(self.puts) if put.key.tenant == request.key.tenant]
        exact = [each for each in stored if each[1].key.exact_digest == request.key.exact_digest]
        if exact:
            return _found(cache_pb2.LOOKUP_OUTCOME_EXACT_HIT, *exact[-1])
        if not (stored and self.finds_meaning):
            return cache_pb2.LookupResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason="by the very same only")
        number, put = max(stored, key=lambda each: _similarity(each[1].key.prompt, request.key.prompt))
        similarity = _similarity(put.key.prompt, request.key.prompt)
        threshold = request.min_similarity if request.HasField("min_similarity") else SERVED_FROM
        if similarity >= threshold:
            response = _found(cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT, number, put)
        elif request.WhichOneof("threshold"):
            response = cache_pb2.LookupResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS)
        else:
            response = _found(cache_pb2.LOOKUP_OUTCOME_EXPLORE, number, put)
            response.exploration_token = b"token"
        response.similarity = similarity
        self.num_compared[request.key.tenant] += 1
        return response

    def Put(self, request: cache_pb2.PutRequest, context: Any) -> cache_pb2.PutResponse:
        """Keeps everything; learns what it is told."""
        self._come(context)
        self.puts.append(request)
        learned = request.is_equivalent if request.HasField("is_equivalent") else None
        return cache_pb2.PutResponse(entry_id=str(len(self.puts) - 1), is_stored=True, is_equivalent=learned)

    def Invalidate(self, request: cache_pb2.InvalidateRequest, context: Any) -> cache_pb2.InvalidateResponse:
        """Notes who wants to be forgotten."""
        self._come(context)
        assert request.all
        self.removed.append(request.tenant)
        return cache_pb2.InvalidateResponse(num_removed=1)

    def GetStats(self, request: cache_pb2.GetStatsRequest, context: Any) -> cache_pb2.GetStatsResponse:
        """One count and fixed ones."""
        self._come(context)
        num_compared = self.num_compared[request.tenant]
        return cache_pb2.GetStatsResponse(
            num_semantic_lookups=num_compared, num_audits=3, error_rate=0.25, error_rate_bound=0.5
        )

    def _come(self, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        if self.failure is not None:
            context.abort(self.failure, "as told")


def _found(outcome: Any, number: int, put: cache_pb2.PutRequest) -> cache_pb2.LookupResponse:
    response = cache_pb2.LookupResponse(outcome=outcome, answer=put.answer)
    response.answer.entry_id = str(number)
    return response


def _similarity(one: str, other: str) -> float:
    words, others = set(one.split()), set(other.split())
    return len(words & others) / len(words | others)
