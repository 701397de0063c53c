"""Follows the standard health service of one address."""

import asyncio
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_PAUSE_S = 0.1
_CHECK_TIMEOUT_S = 2.0


async def follow_health(address: str, on_change: Callable[[bool], None]) -> None:
    """Tells `on_change` whether the server at `address` can serve, at each change, until cancelled.

    It need not listen yet; while it cannot be reached, it cannot serve.
    """
    options = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 50)]
    options += [("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                async for response in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                    on_change(response.status == health_pb2.HealthCheckResponse.SERVING)
            except grpc.aio.AioRpcError:
                on_change(await _is_serving(stub))  # servers end old connections while they serve
            await asyncio.sleep(_PAUSE_S)


async def _is_serving(stub: "health_pb2_grpc.HealthStub") -> bool:
    try:
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_CHECK_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
