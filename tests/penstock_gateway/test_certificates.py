"""Client certificates as identities, over real mutual TLS."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fakes.certificates import Authority
from fakes.gateway_deployment import Deployment, StartDeployment

from penstock import AsyncClient
from penstock.client import UnauthenticatedError
from penstock_gateway.__main__ import Gateway
from penstock_shared.api_keys import mint_key
from penstock_shared.key_file import KeyFile
from penstock_shared.tracing import Tracer

TENANTS = {
    "acme": {"certificates": ["client.acme.example", "spiffe://acme/batch"]},
    "other": {"certificates": ["other client"]},
}
Open = Callable[..., Awaitable[Deployment]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Vouches for the clients."""
    return Authority(tmp_path)


@pytest.fixture
def opened(start: StartDeployment, authority: Authority, tmp_path: Path) -> Open:
    """Opens a gateway that wants a certificate of every client; with a tenants file unless told otherwise."""

    async def open_gateway(*, has_tenants: bool = True) -> Deployment:
        if has_tenants:
            (tmp_path / "tenants.json").write_text(json.dumps({"version": 1, "tenants": TENANTS}))
        pair = authority.issue("gateway")
        return await start(
            tls_cert_file=pair.cert_file, tls_key_file=pair.key_file, tls_client_ca_file=authority.ca_file
        )

    return open_gateway


async def ask(deployment: Deployment, authority: Authority, *names: str, api_key: str | None = None) -> str:
    """A call by a client whose certificate has these names, the common one first; the tenant it was taken for."""
    own = authority.issue(names[0], hosts=names[1:])
    async with AsyncClient(
        deployment.gateway.address,
        api_key=api_key,
        tls_ca=authority.ca_file,
        tls_cert=own.cert_file,
        tls_key=own.key_file,
    ) as client:
        await client.generate("Hi")
    tenant: str = deployment.workers[0].groups[-1].tenant
    return tenant


@pytest.mark.parametrize(
    ("names", "tenant", "told"),
    [
        (["somebody", "client.acme.example"], "acme", "client.acme.example"),
        (["somebody", "x.example", "spiffe://acme/batch"], "acme", "spiffe://acme/batch"),
        (["other client", "x.example"], "other", "other client"),
        (["client.acme.example", "spiffe://acme/batch"], "acme", "spiffe://acme/batch"),
    ],
)
async def test_a_certificate_names_its_tenant(
    opened: Open, authority: Authority, names: list[str], tenant: str, told: str
) -> None:
    """By any of its names, DNS, URI or common; the audit log has which."""
    deployment = await opened()
    assert await ask(deployment, authority, *names) == tenant
    path = deployment.settings.state_dir / "audit.log"
    await deployment.until(path.exists)
    line = json.loads(path.read_text())
    assert (line["tenant"], line["auth"], line["credential_id"]) == (tenant, "certificate", told)


@pytest.mark.parametrize(
    "names",
    [
        ["stranger", "stranger.example"],
        ["other client", "client.acme.example"],
        ["x", "CLIENT.acme.example"],
        ["acme", "x.example"],
    ],
)
async def test_one_of_no_tenant_or_of_two_is_refused(opened: Open, authority: Authority, names: list[str]) -> None:
    """The authority may vouch for many who are no clients of ours."""
    with pytest.raises(UnauthenticatedError, match="belongs to no tenant, or to several"):
        await ask(await opened(), authority, *names)


async def test_a_key_weighs_more_than_the_certificate(opened: Open, authority: Authority, tmp_path: Path) -> None:
    """It was shown for this call; a wrong one is not made good by the connection."""
    minted = mint_key(tenant="by-key", name="", now_s=time.time(), lifetime_s=None)
    KeyFile(tmp_path / "keys.json").add(minted.record)
    deployment = await opened()
    assert await ask(deployment, authority, "other client", api_key=minted.text) == "by-key"
    with pytest.raises(UnauthenticatedError, match="the API key is not valid"):
        await ask(deployment, authority, "other client", api_key=f"{minted.text}x")


async def test_where_nothing_tells_tenants_apart_the_authoritys_word_is_enough(
    opened: Open, authority: Authority, tmp_path: Path
) -> None:
    """Mutual TLS alone is a door, until there are keys: then one is asked for."""
    deployment = await opened(has_tenants=False)
    assert await ask(deployment, authority, "anybody") == "default"
    minted = mint_key(tenant="by-key", name="", now_s=time.time(), lifetime_s=None)
    KeyFile(tmp_path / "keys.json").add(minted.record)
    assert await ask(deployment, authority, "anybody", api_key=minted.text) == "by-key"
    with pytest.raises(UnauthenticatedError, match="belongs to no tenant"):
        await ask(deployment, authority, "anybody")


async def test_a_client_authority_is_enough_to_listen_to_other_machines(opened: Open) -> None:
    """Nobody gets in without its word."""
    settings = (await opened(has_tenants=False)).settings.model_copy(update={"bind": "0.0.0.0:0"})
    Gateway(settings, Tracer("open"))
