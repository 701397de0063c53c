"""`AdminService`: what operators may ask of this gateway."""
# ruff: noqa: ARG002, N802 - gRPC names methods and arguments

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock.cache.v1 import cache_pb2
from penstock_gateway import convert
from penstock_gateway.admin_messages import check_tenant, invalidations
from penstock_gateway.cache.cache_admin import CacheAdmin
from penstock_gateway.cache.planner import CachePlanner
from penstock_gateway.capabilities import Limits
from penstock_gateway.message_counts import check_generation_counts
from penstock_gateway.models import ModelCatalog
from penstock_gateway.validation import validate_request
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_shared.logs import get_logger
from penstock_shared.storable import check_storable

SERVICE_NAME = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_LONGEST_S = 10.0
# A whole cache goes over the wire.
_LONGEST_TRANSFER_S = 3600.0

Context = grpc.aio.ServicerContext[Any, Any]


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Answers operators.

    Args:
        status: what the gateway does at this moment.
        cache: the cache service; None where there is none.
        planner: decides what the cache may do for a request.
        models: what a request can ask for.
        limits: bounds of one request.
    """

    def __init__(
        self,
        *,
        status: Callable[[], admin_pb2.GetStatusResponse],
        cache: CacheAdmin | None,
        planner: CachePlanner,
        models: ModelCatalog,
        limits: Limits,
    ) -> None:
        self._status = status
        self._maybe_cache = cache
        self._planner = planner
        self._models = models
        self._limits = limits
        self._log = get_logger("admin")

    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        """A snapshot."""
        return self._status()

    async def InvalidateCache(
        self, request: admin_pb2.InvalidateCacheRequest, context: Context
    ) -> admin_pb2.InvalidateCacheResponse:
        """Passed on to the cache service."""
        messages = invalidations(request)
        num_removed = await self._cache.invalidate(messages, timeout_s=_timeout_s(context))
        selectors = [message.WhichOneof("selector") for message in messages]
        self._log.info("cache invalidated", tenant=request.tenant, selectors=selectors, num_removed=num_removed)
        return admin_pb2.InvalidateCacheResponse(num_removed=num_removed)

    async def GetCacheStats(
        self, request: admin_pb2.GetCacheStatsRequest, context: Context
    ) -> admin_pb2.GetCacheStatsResponse:
        """The cache service's own."""
        check_storable("tenant", request.tenant)
        stats = await self._cache.stats(request.tenant, timeout_s=_timeout_s(context))
        return admin_pb2.GetCacheStatsResponse(stats=stats)

    async def ExplainCache(
        self, request: admin_pb2.ExplainCacheRequest, context: Context
    ) -> admin_pb2.ExplainCacheResponse:
        """The way of a request up to the lookup, which is not counted."""
        check_tenant(request.tenant)
        check_generation_counts(request.request, self._limits)
        asked = convert.generation_request(request.request)
        spec, _ = validate_request(asked, self._models, self._limits)
        cache = self._cache
        use = self._planner.plan(asked, spec, request.tenant)
        if use.report is not None:
            return admin_pb2.ExplainCacheResponse(restriction=use.report.reason, max_error_rate=use.max_error_rate)
        return admin_pb2.ExplainCacheResponse(
            explanation=await cache.explain(use, timeout_s=_timeout_s(context)),
            restriction=use.restriction,
            max_error_rate=use.max_error_rate,
        )

    async def ExportCache(  # type: ignore[override]  # the stubs know generators only
        self, request: admin_pb2.ExportCacheRequest, context: Context
    ) -> None:
        """Passed on from the cache service, as fast as it is read."""
        check_tenant(request.tenant)
        timeout_s = _timeout_s(context, _LONGEST_TRANSFER_S)
        async for record in self._cache.export(request.tenant, timeout_s=timeout_s):
            await context.write(admin_pb2.ExportCacheResponse(record=record))

    async def ImportCache(
        self, request_iterator: AsyncIterator[admin_pb2.ImportCacheRequest], context: Context
    ) -> admin_pb2.ImportCacheResponse:
        """Passed on to the cache service, as fast as that takes it."""
        cache = self._cache
        first = await anext(aiter(request_iterator), None)
        tenant = "" if first is None else first.tenant
        check_tenant(tenant)

        async def records() -> AsyncIterator[cache_pb2.CacheRecord]:
            if first is not None:
                yield first.record
            async for message in request_iterator:
                if message.tenant != tenant:
                    raise InvalidArgumentError("tenant", message.tenant, f"{tenant!r}, as in the first message")
                yield message.record

        kept = await cache.import_(tenant, records(), timeout_s=_timeout_s(context, _LONGEST_TRANSFER_S))
        self._log.info("cache imported", tenant=tenant, num_entries=kept.num_entries, num_refused=kept.num_refused)
        return admin_pb2.ImportCacheResponse(
            num_entries=kept.num_entries,
            num_labels=kept.num_labels,
            num_refused=kept.num_refused,
            num_already_there=kept.num_already_there,
        )

    @property
    def _cache(self) -> CacheAdmin:
        if self._maybe_cache is None:
            raise FailedPreconditionError("this gateway has no cache")
        return self._maybe_cache


def _timeout_s(context: Context, longest_s: float = _LONGEST_S) -> float:
    return Deadline.from_context(context, longest_s).timeout_s()
