"""A channel that is opened anew: what becomes of the one before."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock_shared.renewed_channel import RenewedChannel
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer


class Renewal:
    """Credentials that change when told, and the channels opened with them, in plaintext."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._now = grpc.local_channel_credentials()
        self.opened: list[grpc.aio.Channel] = []

    def credentials(self) -> grpc.ChannelCredentials:
        """Those of now."""
        return self._now

    def renew(self) -> None:
        """From the next call on they are others."""
        self._now = grpc.local_channel_credentials()

    def connect(self, _credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        """Opens a channel."""
        self.opened.append(grpc.aio.insecure_channel(self._address))
        return self.opened[-1]

    async def until_closed(self, index: int) -> None:
        """Waits until one of the channels is; gRPC tells nobody."""
        async with asyncio.timeout(10):
            while self.opened[index].get_state() is not grpc.ChannelConnectivity.SHUTDOWN:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def renewal() -> AsyncIterator[Renewal]:
    """Of a server that tells its health."""
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("server"))
    yield Renewal(f"127.0.0.1:{await server.start()}")
    await server.drain(0)


async def check(channel: grpc.aio.Channel) -> None:
    """A call that ends at once."""
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)


async def test_a_channel_is_opened_anew_only_when_the_credentials_change(renewal: Renewal) -> None:
    """A connection for each call would cost a handshake each."""
    async with RenewedChannel(renewal.credentials, renewal.connect) as channel:
        await check(channel)
        await check(channel)
        assert len(renewal.opened) == 1
        renewal.renew()
        await check(channel)
        await check(channel)
        assert len(renewal.opened) == 2


async def test_the_old_channel_is_closed_when_its_last_call_has_ended(renewal: Renewal) -> None:
    """Left open, each renewal would cost a connection for as long as the process lives."""
    async with RenewedChannel(renewal.credentials, renewal.connect) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        renewal.renew()
        await check(channel)
        assert renewal.opened[0].get_state() is grpc.ChannelConnectivity.READY
        watch.cancel()
        await renewal.until_closed(0)
        renewal.renew()
        await check(channel)
        await renewal.until_closed(1)


async def test_its_end_is_the_end_of_all_it_has_opened(renewal: Renewal) -> None:
    """Whoever closes a channel counts on its calls being over."""
    channel = RenewedChannel(renewal.credentials, renewal.connect)
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    renewal.renew()
    await check(channel)
    await channel.close()
    assert await asyncio.wait_for(watch.code(), 10) is grpc.StatusCode.CANCELLED
    assert [each.get_state() for each in renewal.opened] == [grpc.ChannelConnectivity.SHUTDOWN] * 2
