"""A CacheService in memory, which fails or is slow when a test wants it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_shared.errors import PenstockError
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedCache(cache_pb2_grpc.CacheServiceServicer):
    """Finds what was put, by tenant and exact digest; by meaning, what a test says.

    Attributes:
        address: host:port, once started.
        lookups, puts, invalidations, explained, imports: the requests that came.
        by_meaning: what a lookup with a context comes to where nothing is found for the very same request.
        is_equivalent: what puts that explore are told.
        records: what an export gives.
        budgets_s: the time that each lookup was given.
        failure: raised by every call, while it is set.
        gate: lookups wait for it.
        meaning_gate: lookups with a context wait for it where nothing is found for the very same request.
        put_gate: puts wait for it.
    """

    def __init__(self, certificates: ReloadingCertificates | None = None) -> None:
        self.address = ""
        self.lookups: list[cache_pb2.LookupRequest] = []
        self.budgets_s: list[float] = []
        self.puts: list[cache_pb2.PutRequest] = []
        self.invalidations: list[cache_pb2.InvalidateRequest] = []
        self.explained: list[cache_pb2.ExplainRequest] = []
        self.imports: list[cache_pb2.ImportRequest] = []
        self.by_meaning: cache_pb2.LookupResponse | None = None
        self.is_equivalent: bool | None = None
        self.records: list[cache_pb2.CacheRecord] = []
        self.failure: PenstockError | None = None
        self.gate, self.meaning_gate, self.put_gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for gate in (self.gate, self.meaning_gate, self.put_gate):
            gate.set()
        self._changed = asyncio.Condition()
        self._server = GrpcServer(
            bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"), certificates=certificates
        )
        cache_pb2_grpc.add_CacheServiceServicer_to_server(self, self._server.server)

    async def start(self) -> None:
        """Listens; `address` is set."""
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        """Breaks everything."""
        await self._server.server.stop(0)

    async def until_kept(self, count: int) -> None:
        """Waits until so many answers were put."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.puts) >= count)

    async def Lookup(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.LookupRequest, context: Context
    ) -> cache_pb2.LookupResponse:
        """A hit, where the key was put."""
        self.lookups.append(request)
        self.budgets_s.append(context.time_remaining())
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        for put in reversed(self.puts):
            if (put.key.tenant, put.key.exact_digest) == (request.key.tenant, request.key.exact_digest):
                outcome = cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
                return cache_pb2.LookupResponse(outcome=outcome, answer=put.answer, reason="as scripted")
        if request.key.context_digest and request.max_error_rate:
            await self.meaning_gate.wait()
            if self.by_meaning is not None:
                return self.by_meaning
        return cache_pb2.LookupResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason="as scripted")

    async def Put(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.PutRequest, _context: Context
    ) -> cache_pb2.PutResponse:
        """Keeps it."""
        await self.put_gate.wait()
        if self.failure is not None:
            raise self.failure
        async with self._changed:
            self.puts.append(request)
            self._changed.notify_all()
        is_equivalent = self.is_equivalent if request.exploration_token else None
        return cache_pb2.PutResponse(entry_id=str(len(self.puts)), is_stored=True, is_equivalent=is_equivalent)

    async def Invalidate(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.InvalidateRequest, _context: Context
    ) -> cache_pb2.InvalidateResponse:
        """Says that two answers went."""
        if self.failure is not None:
            raise self.failure
        self.invalidations.append(request)
        return cache_pb2.InvalidateResponse(num_removed=2)

    async def GetStats(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.GetStatsRequest, _context: Context
    ) -> cache_pb2.GetStatsResponse:
        """Counts lookups, and says for whom by the number of entries."""
        if self.failure is not None:
            raise self.failure
        return cache_pb2.GetStatsResponse(
            num_entries=len(request.tenant), num_lookups=len(self.lookups), error_rate=0.004, error_rate_bound=0.009
        )

    async def Explain(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.ExplainRequest, _context: Context
    ) -> cache_pb2.ExplainResponse:
        """One candidate that would be explored."""
        if self.failure is not None:
            raise self.failure
        self.explained.append(request)
        explore = cache_pb2.LOOKUP_OUTCOME_EXPLORE
        candidate = cache_pb2.Candidate(
            entry_id="7", prompt="Hello", similarity=0.9, score=0.5, outcome=explore, reason="too new"
        )
        return cache_pb2.ExplainResponse(outcome=explore, reason="as scripted", candidates=[candidate])

    async def Export(  # noqa: N802 - gRPC's naming
        self, _request: cache_pb2.ExportRequest, _context: Context
    ) -> AsyncIterator[cache_pb2.ExportResponse]:
        """All records."""
        if self.failure is not None:
            raise self.failure
        for record in self.records:
            yield cache_pb2.ExportResponse(record=record)

    async def Import(  # noqa: N802 - gRPC's naming
        self, request_iterator: AsyncIterator[cache_pb2.ImportRequest], _context: Context
    ) -> cache_pb2.ImportResponse:
        """Keeps all, and counts what there was none of."""
        async for request in request_iterator:
            if self.failure is not None:
                raise self.failure
            self.imports.append(request)
        num_entries = len(self.imports)
        return cache_pb2.ImportResponse(num_entries=num_entries, num_labels=3, num_already_there=4, num_refused=5)
