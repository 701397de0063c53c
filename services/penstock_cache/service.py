"""`CacheService` of protos/penstock/cache/v1."""
# ruff: noqa: N802 - gRPC names methods

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_cache import convert
from penstock_cache.store import Store
from penstock_shared.errors import UnimplementedError

Context = grpc.aio.ServicerContext[Any, Any]


class CacheServicer(cache_pb2_grpc.CacheServiceServicer):
    """Answers from a store. Counters are those of this process.

    Args:
        store: keeps the answers.
        default_ttl_s: how long an answer is served whose writer does not say.
        max_ttl_s: the longest that a writer may say.
    """

    def __init__(self, store: Store, *, default_ttl_s: float, max_ttl_s: float) -> None:
        self._store = store
        self._default_ttl_s = default_ttl_s
        self._max_ttl_s = max_ttl_s
        self._num_lookups: Counter[str] = Counter()
        self._num_exact_hits: Counter[str] = Counter()

    async def Lookup(self, request: cache_pb2.LookupRequest, _context: Context) -> cache_pb2.LookupResponse:
        """Finds the answer to the very same request."""
        key = convert.exact_key(request.key)
        convert.error_rate_of(request)
        self._num_lookups[key.tenant] += 1
        found = await self._store.lookup(key)
        if found is None:
            return cache_pb2.LookupResponse(
                outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason="no answer to this very request is stored"
            )
        self._num_exact_hits[key.tenant] += 1
        return cache_pb2.LookupResponse(
            outcome=cache_pb2.LOOKUP_OUTCOME_EXACT_HIT,
            answer=convert.stored_answer(found),
            reason="the very same request",
        )

    async def Put(self, request: cache_pb2.PutRequest, _context: Context) -> cache_pb2.PutResponse:
        """Keeps an answer."""
        entry = convert.new_entry(request, default_ttl_s=self._default_ttl_s, max_ttl_s=self._max_ttl_s)
        entry_id = await self._store.put(entry)
        return cache_pb2.PutResponse(entry_id=entry_id or "", is_stored=entry_id is not None)

    async def Invalidate(self, request: cache_pb2.InvalidateRequest, _context: Context) -> cache_pb2.InvalidateResponse:
        """Removes answers of one tenant."""
        tenant = convert.tenant_of(request.tenant, field="tenant")
        return cache_pb2.InvalidateResponse(num_removed=await self._store.invalidate(tenant, convert.selector(request)))

    async def GetStats(self, request: cache_pb2.GetStatsRequest, _context: Context) -> cache_pb2.GetStatsResponse:
        """Counters of a tenant, or of all together."""
        stored = await self._store.totals(request.tenant)
        return cache_pb2.GetStatsResponse(
            num_entries=stored.num_entries,
            size_bytes=stored.size_bytes,
            num_lookups=_count(self._num_lookups, request.tenant),
            num_exact_hits=_count(self._num_exact_hits, request.tenant),
            num_evictions=_count(self._store.num_evictions, request.tenant),
        )

    async def Explain(self, _request: cache_pb2.ExplainRequest, _context: Context) -> cache_pb2.ExplainResponse:
        """Not yet."""
        raise UnimplementedError("Explain")

    def Export(self, _request: cache_pb2.ExportRequest, _context: Context) -> AsyncIterator[cache_pb2.ExportResponse]:
        """Not yet."""
        raise UnimplementedError("Export")

    async def Import(
        self, _requests: AsyncIterator[cache_pb2.ImportRequest], _context: Context
    ) -> cache_pb2.ImportResponse:
        """Not yet."""
        raise UnimplementedError("Import")


def _count(by_tenant: Mapping[str, int], tenant: str) -> int:
    return by_tenant.get(tenant, 0) if tenant else sum(by_tenant.values())
