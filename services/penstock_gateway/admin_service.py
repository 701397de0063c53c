"""`AdminService`: what operators may ask of this gateway."""
# ruff: noqa: ARG002, N802 - gRPC names methods and arguments

from collections.abc import Callable
from typing import Any

import grpc

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock_gateway.admin_messages import tags_to_invalidate
from penstock_gateway.cache.cache_client import CacheClient
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.logs import get_logger

SERVICE_NAME = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_LONGEST_S = 10.0

Context = grpc.aio.ServicerContext[Any, Any]


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Answers operators.

    Args:
        status: what the gateway does at this moment.
        cache: the cache service's client; None where there is none.
    """

    def __init__(self, *, status: Callable[[], admin_pb2.GetStatusResponse], cache: CacheClient | None) -> None:
        self._status = status
        self._cache = cache
        self._log = get_logger("admin")

    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        """A snapshot."""
        return self._status()

    async def InvalidateCache(
        self, request: admin_pb2.InvalidateCacheRequest, context: Context
    ) -> admin_pb2.InvalidateCacheResponse:
        """Passed on to the cache service."""
        tags = tags_to_invalidate(request)
        if self._cache is None:
            raise FailedPreconditionError("this gateway has no cache")
        timeout_s = Deadline.from_context(context, _LONGEST_S).timeout_s()
        num_removed = await self._cache.invalidate(request.tenant, tags, timeout_s=timeout_s)
        self._log.info("cache invalidated", tenant=request.tenant, tags=tags or "all", num_removed=num_removed)
        return admin_pb2.InvalidateCacheResponse(num_removed=num_removed)
