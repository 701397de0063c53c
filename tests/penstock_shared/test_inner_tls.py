"""TLS between the services, over real loopback gRPC: who is let in, whom one connects to, certificates that change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.certificates import Authority, KeyPair
from fakes.clock import FakeClock

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.channels import connect, open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.inner_tls import InnerTls, load_inner_tls
from penstock_shared.server import GrpcServer
from penstock_shared.settings import ServiceSettings
from penstock_shared.tls import TlsFiles
from penstock_shared.tracing import Tracer

CREDENTIAL = FleetCredential("s" * 40)


class _Mirror(fleet_pb2_grpc.FleetServiceServicer):
    """Tells a caller the name in its certificate; its stream goes on for as long as the test."""

    async def GetFleet(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.GetFleetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> fleet_pb2.GetFleetResponse:
        replica = fleet_pb2.Replica(replica_id=_common_name(context))
        return fleet_pb2.GetFleetResponse(directory=fleet_pb2.Directory(replicas=[replica]))

    async def WatchReplicas(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.WatchReplicasRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        while True:
            replica = fleet_pb2.Replica(replica_id=_common_name(context))
            await context.write(fleet_pb2.WatchReplicasResponse(directory=fleet_pb2.Directory(replicas=[replica])))
            await asyncio.sleep(0.01)


def _common_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    return str(context.auth_context()["x509_common_name"][0].decode())


StartServer = Callable[..., Awaitable[str]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom all services trust."""
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Whom nobody trusts."""
    (tmp_path / "elsewhere").mkdir()
    return Authority(tmp_path / "elsewhere", "stranger")


@pytest.fixture
def clock() -> FakeClock:
    """Of clients: they look at their files once a second."""
    return FakeClock()


@pytest.fixture
async def start() -> AsyncIterator[StartServer]:
    """Starts a server with a certificate and gives its address."""
    async with AsyncExitStack() as stack:

        async def start_server(files: TlsFiles) -> str:
            server = GrpcServer(
                bind="127.0.0.1:0",
                service_names=[],
                tracer=Tracer("server"),
                credential=CREDENTIAL,
                certificates=InnerTls(files).server_certificates(),
            )
            fleet_pb2_grpc.add_FleetServiceServicer_to_server(_Mirror(), server.server)
            address = f"127.0.0.1:{await server.start()}"
            stack.push_async_callback(server.server.stop, 0)
            return address

        yield start_server


def files_of(pair: KeyPair, authority: Authority) -> TlsFiles:
    """What a service is told."""
    return TlsFiles(pair.cert_file, pair.key_file, authority.ca_file)


def opened(address: str, tls: InnerTls | None, credential: FleetCredential | None = CREDENTIAL) -> grpc.aio.Channel:
    """A client, as services are."""
    return open_channel(address, credential=credential, tracer=Tracer("client"), tls=tls)


async def shown_name(channel: grpc.aio.Channel) -> str:
    """The name that the server saw in the client's certificate."""
    found = await fleet_pb2_grpc.FleetServiceStub(channel).GetFleet(fleet_pb2.GetFleetRequest(), timeout=10)
    return str(found.directory.replicas[0].replica_id)


async def test_services_of_one_authority_talk_to_each_other(start: StartServer, authority: Authority) -> None:
    """Each by a certificate of its own, in calls and streams."""
    address = await start(files_of(authority.issue("cache"), authority))
    async with opened(address, InnerTls(files_of(authority.issue("gateway"), authority))) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10)
        assert await shown_name(channel) == "gateway"
        watch = fleet_pb2_grpc.FleetServiceStub(channel).WatchReplicas(fleet_pb2.WatchReplicasRequest())
        assert (await watch.read()).directory.replicas[0].replica_id == "gateway"


async def test_who_shows_no_certificate_of_the_authority_is_refused(
    start: StartServer, authority: Authority, stranger: Authority
) -> None:
    """Plaintext, TLS without a certificate, and one of somebody else: none gets as far as a call."""
    address = await start(files_of(authority.issue("cache"), authority))
    pair = stranger.issue("gateway")
    with_no_certificate = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority.ca_file.read_bytes()))
    with_strangers = grpc.aio.secure_channel(
        address,
        grpc.ssl_channel_credentials(
            authority.ca_file.read_bytes(), pair.key_file.read_bytes(), pair.cert_file.read_bytes()
        ),
    )
    for channel in (connect(address, None), with_no_certificate, with_strangers):
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await shown_name(channel)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_authority_or_name_gets_no_call(
    start: StartServer, authority: Authority, stranger: Authority
) -> None:
    """The first message would give it the fleet credential."""
    own = InnerTls(files_of(authority.issue("gateway"), authority))
    elsewhere = await start(TlsFiles(*_paths(stranger.issue("cache")), authority.ca_file))
    misnamed = await start(files_of(authority.issue("other", hosts=["10.0.0.7"]), authority))
    for address, reason in ((elsewhere, "CERTIFICATE_VERIFY_FAILED"), (misnamed, "Hostname Verification")):
        async with opened(address, own) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match=reason):
                await shown_name(channel)


async def test_one_name_may_stand_for_all_servers(start: StartServer, authority: Authority) -> None:
    """Nobody knows the addresses of pods when their certificates are made; any other name is refused still."""
    address = await start(files_of(authority.issue("cache", hosts=["penstock.internal"]), authority))
    files = files_of(authority.issue("gateway"), authority)
    async with opened(address, InnerTls(files, "penstock.internal")) as channel:
        assert await shown_name(channel) == "gateway"
    async with opened(address, InnerTls(files, "cache.internal")) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="Hostname Verification"):
            await shown_name(channel)


async def test_the_fleet_credential_is_asked_for_all_the_same(start: StartServer, authority: Authority) -> None:
    """A certificate says that somebody is one of us, not that a tenant in metadata is to be believed."""
    address = await start(files_of(authority.issue("cache"), authority))
    async with opened(address, InnerTls(files_of(authority.issue("gateway"), authority)), None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await shown_name(channel)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_client_shows_a_renewed_certificate_and_its_streams_go_on(
    start: StartServer, authority: Authority, clock: FakeClock
) -> None:
    """A channel of gRPC has one certificate for life, and lives longer than the certificate."""
    address = await start(files_of(authority.issue("cache"), authority))
    pair = authority.issue("gateway")
    tls = InnerTls(files_of(pair, authority), clock=clock)
    async with opened(address, tls) as channel:
        watch = fleet_pb2_grpc.FleetServiceStub(channel).WatchReplicas(fleet_pb2.WatchReplicasRequest())
        assert (await watch.read()).directory.replicas[0].replica_id == "gateway"
        pair.replace_with(authority.issue("renewed"))
        clock.advance(1)
        assert await shown_name(channel) == "renewed"
        for _ in range(3):
            assert (await watch.read()).directory.replicas[0].replica_id == "gateway"
    assert await asyncio.wait_for(watch.code(), 10) is grpc.StatusCode.CANCELLED


async def test_a_server_shows_a_renewed_certificate_to_the_next_connection(
    start: StartServer, authority: Authority
) -> None:
    """Seen by the name in it: a client that expects the new one is served."""
    pair = authority.issue("cache")
    address = await start(files_of(pair, authority))
    files = files_of(authority.issue("gateway"), authority)
    async with opened(address, InnerTls(files)) as channel:
        assert await shown_name(channel) == "gateway"
        pair.replace_with(authority.issue("renewed", hosts=["renewed.internal"]))
        async with opened(address, InnerTls(files, "renewed.internal")) as renewed:
            assert await shown_name(renewed) == "gateway"
        assert await shown_name(channel) == "gateway"


async def test_another_authority_is_taken_without_a_restart(
    start: StartServer, authority: Authority, tmp_path: Path, clock: FakeClock
) -> None:
    """An authority ends one day, too; the files of all services are replaced while they run."""
    (tmp_path / "next").mkdir()
    successor = Authority(tmp_path / "next")
    server, client = authority.issue("cache"), authority.issue("gateway")
    address = await start(files_of(server, authority))
    tls = InnerTls(files_of(client, authority), clock=clock)
    async with opened(address, tls) as channel:
        assert await shown_name(channel) == "gateway"
        authority.ca_file.write_bytes(successor.ca_file.read_bytes())
        server.replace_with(successor.issue("cache"))
        client.replace_with(successor.issue("next-gateway"))
        clock.advance(1)
        assert await shown_name(channel) == "next-gateway"


async def test_a_broken_pair_leaves_the_last_good_certificate_in_force(
    start: StartServer, authority: Authority, clock: FakeClock
) -> None:
    """A renewal that went wrong cuts nobody off."""
    address = await start(files_of(authority.issue("cache"), authority))
    pair, renewed = authority.issue("gateway"), authority.issue("renewed")
    async with opened(address, InnerTls(files_of(pair, authority), clock=clock)) as channel:
        pair.cert_file.write_bytes(renewed.cert_file.read_bytes())
        clock.advance(1)
        assert await shown_name(channel) == "gateway"
        pair.replace_with(renewed)
        clock.advance(1)
        assert await shown_name(channel) == "renewed"


@pytest.mark.parametrize("missing", ["inner_tls_cert_file", "inner_tls_key_file", "inner_tls_ca_file"])
def test_a_part_of_the_files_is_refused(missing: str, authority: Authority) -> None:
    """Plaintext where TLS was asked for would be worse than no start."""
    pair = authority.issue("cache")
    names = {"inner_tls_cert_file": pair.cert_file, "inner_tls_key_file": pair.key_file}
    names["inner_tls_ca_file"] = authority.ca_file
    assert load_inner_tls(ServiceSettings(**names)) is not None
    assert load_inner_tls(ServiceSettings()) is None
    with pytest.raises(FailedPreconditionError, match="are set together"):
        load_inner_tls(ServiceSettings(**{name: path for name, path in names.items() if name != missing}))


def test_files_that_do_not_fit_are_refused(authority: Authority) -> None:
    """With the file that is wrong."""
    pair, other = authority.issue("cache"), authority.issue("other")
    files = files_of(pair, authority)
    with pytest.raises(FailedPreconditionError, match="is not the key of"):
        InnerTls(replace(files, key_file=other.key_file))
    with pytest.raises(FailedPreconditionError, match="holds no certificate"):
        InnerTls(replace(files, client_ca_file=pair.key_file))


def _paths(pair: KeyPair) -> tuple[Path, Path]:
    return pair.cert_file, pair.key_file
