"""The cache service as operators use it through the gateway. Messages pass through as they are."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_gateway.cache.cache_messages import explain_message
from penstock_gateway.cache.planner import CacheUse
from penstock_shared.errors import FailedPreconditionError, PenstockError, UnavailableError

_REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED}


class CacheAdmin:
    """Calls `CacheService` without a budget or a breaker. Every method raises as `_told` says.

    Args:
        channel: to the service.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = cache_pb2_grpc.CacheServiceStub(channel)

    async def invalidate(self, messages: Sequence[cache_pb2.InvalidateRequest], *, timeout_s: float) -> int:
        """Removes answers; gives how many went. After an error, those of the first messages may be gone."""
        num_removed = 0
        for message in messages:
            try:
                num_removed += (await self._stub.Invalidate(message, timeout=timeout_s)).num_removed
            except grpc.aio.AioRpcError as error:
                raise _told(error) from error
        return num_removed

    async def stats(self, tenant: str, *, timeout_s: float) -> cache_pb2.GetStatsResponse:
        """What was counted for a tenant; empty: for all together."""
        try:
            return await self._stub.GetStats(cache_pb2.GetStatsRequest(tenant=tenant), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error

    async def explain(self, use: CacheUse, *, timeout_s: float) -> cache_pb2.ExplainResponse:
        """What the lookup for a request without a report would come to."""
        assert use.lookup_key is not None, "without a key there is a report"
        message = explain_message(use.lookup_key, max_error_rate=use.max_error_rate)
        try:
            return await self._stub.Explain(message, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error

    async def export(self, tenant: str, *, timeout_s: float) -> AsyncIterator[cache_pb2.CacheRecord]:
        """All that is kept for a tenant."""
        try:
            async for response in self._stub.Export(cache_pb2.ExportRequest(tenant=tenant), timeout=timeout_s):
                yield response.record
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error

    async def import_(
        self, tenant: str, records: AsyncIterator[cache_pb2.CacheRecord], *, timeout_s: float
    ) -> cache_pb2.ImportResponse:
        """Keeps what an export gave; what `records` raises ends it.

        Where the service ends it before all is sent, gRPC may not tell why: that is its failure, whatever the reason.
        """
        call = self._stub.Import(timeout=timeout_s)
        try:
            async for record in records:
                await call.write(cache_pb2.ImportRequest(tenant=tenant, record=record))
            await call.done_writing()
            return await call
        except asyncio.InvalidStateError:  # the service has ended it already, and says why
            return await self._end_of(call)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error
        finally:
            call.cancel()

    async def _end_of(self, call: grpc.aio.StreamUnaryCall[Any, cache_pb2.ImportResponse]) -> cache_pb2.ImportResponse:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error


def _told(error: grpc.aio.AioRpcError) -> PenstockError:
    """What the service has against the request is the caller's to mend; all else may go well the next time."""
    if error.code() in _REFUSALS:
        return FailedPreconditionError(f"the cache refuses it: {error.details()}")
    return UnavailableError(f"the cache failed: {error.code().name}: {error.details()}")
