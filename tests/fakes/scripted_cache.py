"""A CacheService in memory, which fails or is slow when a test wants it."""

import asyncio
from typing import Any

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_shared.errors import PenstockError
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedCache(cache_pb2_grpc.CacheServiceServicer):
    """Finds what was put, by tenant and exact digest.

    Attributes:
        address: host:port, once started.
        lookups, puts, invalidations: the requests that came.
        budgets_s: the time that each lookup was given.
        failure: raised by every call, while it is set.
        gate: lookups wait for it.
        put_gate: puts wait for it.
    """

    def __init__(self) -> None:
        self.address = ""
        self.lookups: list[cache_pb2.LookupRequest] = []
        self.budgets_s: list[float] = []
        self.puts: list[cache_pb2.PutRequest] = []
        self.invalidations: list[cache_pb2.InvalidateRequest] = []
        self.failure: PenstockError | None = None
        self.gate, self.put_gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.put_gate.set()
        self._changed = asyncio.Condition()
        self._server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"))
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
            if put.key == request.key:
                outcome = cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
                return cache_pb2.LookupResponse(outcome=outcome, answer=put.answer, reason="as scripted")
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
        return cache_pb2.PutResponse(entry_id=str(len(self.puts)), is_stored=True)

    async def Invalidate(  # noqa: N802 - gRPC's naming
        self, request: cache_pb2.InvalidateRequest, _context: Context
    ) -> cache_pb2.InvalidateResponse:
        """Says that two answers went."""
        if self.failure is not None:
            raise self.failure
        self.invalidations.append(request)
        return cache_pb2.InvalidateResponse(num_removed=2)
