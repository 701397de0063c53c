"""Following a server's health over real gRPC."""

import asyncio

from penstock.local.health import follow_health
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer
from penstock_shared.transport_limits import TransportLimits


async def test_the_end_of_an_old_connection_is_no_illness() -> None:
    """Servers end connections of some age; a supervisor that took it for a failure would show a flapping service."""
    limits = TransportLimits(max_connection_age_s=0.1, connection_age_grace_s=0.1)
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("server"), limits=limits)
    port = await server.start()
    await server.set_serving(True)
    told: list[bool] = []
    enough = asyncio.Event()

    def take(is_serving: bool) -> None:
        told.append(is_serving)
        if len(told) >= 6:  # two for each connection that ended: the check, and the new watch
            enough.set()

    following = asyncio.create_task(follow_health(f"127.0.0.1:{port}", take))
    async with asyncio.timeout(60):
        await enough.wait()
    assert set(told) == {True}
    following.cancel()
    await server.drain(0)


async def test_a_dead_server_cannot_serve() -> None:
    """The check after a broken watch must not hide a crash."""
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("server"))
    port = await server.start()
    await server.set_serving(True)
    told: asyncio.Queue[bool] = asyncio.Queue()
    following = asyncio.create_task(follow_health(f"127.0.0.1:{port}", told.put_nowait))
    async with asyncio.timeout(60):
        assert await told.get()
        await server.server.stop(0)
        assert not await told.get()
    following.cancel()
