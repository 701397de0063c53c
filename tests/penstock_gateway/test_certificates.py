"""Client certificates as identities, over real mutual TLS."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.certificate_authority import CertificateAuthority

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_gateway.admission import Bounds
from penstock_gateway.authentication import Authenticator
from penstock_gateway.key_ring import KeyRing
from penstock_gateway.tenants_file import watch_tenants
from penstock_shared.api_keys import mint_key
from penstock_shared.call_guard import CallGuard
from penstock_shared.key_file import KeyFile, parse_keys
from penstock_shared.principal import AuthMethod, Principal, current_principal
from penstock_shared.tracing import Tracer
from penstock_shared.watched_file import WatchedFile

AUTHORITY = CertificateAuthority()
TENANTS = {
    "acme": {"certificates": ["client.acme.example", "spiffe://acme/batch"]},
    "other": {"certificates": ["other client"]},
}


class _Seen(fleet_pb2_grpc.FleetServiceServicer):
    """Notes who called."""

    def __init__(self) -> None:
        self.principals: list[Principal] = []

    async def Drain(self, _request: Any, _context: Any) -> fleet_pb2.DrainResponse:  # noqa: N802 - gRPC's naming
        self.principals.append(current_principal.get())
        return fleet_pb2.DrainResponse()


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    """By the tenants file alone; a test may add keys."""
    (tmp_path / "tenants.json").write_text(json.dumps({"version": 1, "tenants": TENANTS}))
    keys = KeyRing(WatchedFile(tmp_path / "keys.json", parse_keys), wall_clock=time.time)
    return Authenticator(keys, watch_tenants(tmp_path / "tenants.json", Bounds(1, 1)))


@asynccontextmanager
async def serving(authenticator: Authenticator) -> AsyncIterator[tuple[_Seen, str]]:
    """A server that wants a certificate of our authority from every client."""
    server, seen = grpc.aio.server(interceptors=[CallGuard(Tracer("x"), None, authenticator)]), _Seen()
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(seen, server)
    credentials = grpc.ssl_server_credentials(
        [AUTHORITY.issue("server", "127.0.0.1")], AUTHORITY.certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield seen, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def call(address: str, *names: str, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    """A call by a client whose certificate has these names, the common one first."""
    private_key, certificate = AUTHORITY.issue(*names)
    credentials = grpc.ssl_channel_credentials(AUTHORITY.certificate, private_key, certificate)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        await fleet_pb2_grpc.FleetServiceStub(channel).Drain(fleet_pb2.DrainRequest(), metadata=metadata, timeout=10)


@pytest.mark.parametrize(
    ("names", "tenant", "name"),
    [
        (["somebody", "client.acme.example"], "acme", "client.acme.example"),
        (["somebody", "x.example", "spiffe://acme/batch"], "acme", "spiffe://acme/batch"),
        (["other client"], "other", "other client"),
        (["client.acme.example", "spiffe://acme/batch"], "acme", "spiffe://acme/batch"),
    ],
)
async def test_a_certificate_names_its_tenant(
    authenticator: Authenticator, names: list[str], tenant: str, name: str
) -> None:
    """By any of its names, DNS, URI or common."""
    async with serving(authenticator) as (seen, address):
        await call(address, *names)
    assert seen.principals == [Principal(tenant, AuthMethod.CERTIFICATE, name)]


@pytest.mark.parametrize(
    "names", [["stranger"], ["other client", "client.acme.example"], ["x", "CLIENT.acme.example"], ["x", "acme"]]
)
async def test_one_of_no_tenant_or_of_two_is_refused(authenticator: Authenticator, names: list[str]) -> None:
    """The authority may vouch for many who are no clients of ours."""
    async with serving(authenticator) as (seen, address):
        with pytest.raises(grpc.aio.AioRpcError, match="belongs to no tenant, or to several") as caught:
            await call(address, *names)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert seen.principals == []


async def test_a_key_weighs_more_than_the_certificate(authenticator: Authenticator, tmp_path: Path) -> None:
    """It was shown for this call; a wrong one is not made good by the connection."""
    minted = mint_key(tenant="by-key", name="", now_s=time.time(), lifetime_s=None)
    KeyFile(tmp_path / "keys.json").add(minted.record)
    async with serving(authenticator) as (seen, address):
        await call(address, "other client", metadata=(("x-api-key", minted.text),))
        with pytest.raises(grpc.aio.AioRpcError, match="the API key is not valid"):
            await call(address, "other client", metadata=(("x-api-key", f"{minted.text}x"),))
    assert [principal.tenant for principal in seen.principals] == ["by-key"]


def test_certificates_alone_close_the_door(authenticator: Authenticator) -> None:
    """Who shows none is not let in as the default tenant."""
    assert not authenticator.lets_everybody_in
