"""TLS at the door for clients: who is let in, what a bad handshake says, and certificates that change."""

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.certificates import Authority, KeyPair
from fakes.gateway_deployment import StartDeployment
from fakes.gateway_process import gateway_process

from penstock import AsyncClient, Client
from penstock.client import HandshakeError
from penstock.types.v1 import types_pb2


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom both sides trust."""
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> KeyPair:
    """The gateway's certificate."""
    return authority.issue("gateway")


def _server_files(pair: KeyPair) -> dict[str, Any]:
    return {"tls_cert_file": pair.cert_file, "tls_key_file": pair.key_file}


async def _ask(address: str, **options: Any) -> str:
    async with AsyncClient(address, **options) as client:
        return (await client.generate("Hi", model="pocket")).text


async def _shown_certificate(address: str) -> str:
    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


async def test_clients_speak_tls_with_whom_they_trust(
    start: StartDeployment, authority: Authority, pair: KeyPair
) -> None:
    """The blocking client and its twin; to trust the certificate itself is as good as its authority."""
    deployment = await start(**_server_files(pair))
    address = deployment.gateway.address
    assert await _ask(address, tls_ca=authority.ca_file) == "Hello, world"
    assert await _ask(address, tls_ca=pair.cert_file) == "Hello, world"

    def ask_blocking() -> str:
        with Client(address, tls_ca=str(authority.ca_file)) as client:
            return client.generate("Hi", model="pocket").text

    assert await asyncio.to_thread(ask_blocking) == "Hello, world"


async def test_a_certificate_for_another_name_is_taken_where_that_name_is_expected(
    start: StartDeployment, authority: Authority
) -> None:
    """A gateway behind an address that is not in its certificate."""
    deployment = await start(**_server_files(authority.issue("named", hosts=["llm.example"])))
    options = {"tls_ca": authority.ca_file, "tls_server_name": "llm.example"}
    assert await _ask(deployment.gateway.address, **options) == "Hello, world"


async def test_a_handshake_that_fails_says_what_to_change(
    start: StartDeployment, authority: Authority, pair: KeyPair, tmp_path: Path
) -> None:
    """To gRPC it is the same UNAVAILABLE as a gateway that is down; an operator would look in the wrong place."""
    stranger = Authority(tmp_path, "stranger")
    tls = (await start(**_server_files(pair))).gateway.address
    named = (await start(**_server_files(authority.issue("named", hosts=["llm.example"])))).gateway.address
    plain = (await start()).gateway.address
    mutual = (await start(**_server_files(pair), tls_client_ca_file=authority.ca_file)).gateway.address
    own = stranger.issue("client")
    for address, options, hint in (
        (tls, {}, "it may want TLS"),
        (tls, {"tls_ca": stranger.ca_file}, "signed by nobody in tls_ca"),
        (named, {"tls_ca": authority.ca_file}, "not for this address"),
        (plain, {"tls_ca": authority.ca_file}, "does not speak TLS"),
        (mutual, {"tls_ca": authority.ca_file}, "or a client certificate"),
        (
            mutual,
            {"tls_ca": authority.ca_file, "tls_cert": own.cert_file, "tls_key": own.key_file},
            "or a client certificate",
        ),
    ):
        with pytest.raises(HandshakeError, match=hint):
            await _ask(address, **options)


async def test_a_client_certificate_names_its_tenant(
    start: StartDeployment, authority: Authority, pair: KeyPair, tmp_path: Path
) -> None:
    """Mutual TLS is a credential like any other, end to end."""
    tenants = {"version": 1, "tenants": {"acme": {"certificates": ["client.acme.example"]}}}
    (tmp_path / "tenants.json").write_text(json.dumps(tenants))
    deployment = await start(
        **_server_files(pair),
        tls_client_ca_file=authority.ca_file,
        num_replicas=0,
        is_ready=False,
    )
    await deployment.add_worker(reply=None)
    await deployment.until_ready()
    own = authority.issue("client", hosts=["client.acme.example"])
    async with AsyncClient(
        deployment.gateway.address, tls_ca=authority.ca_file, tls_cert=own.cert_file, tls_key=own.key_file
    ) as client:
        asking = asyncio.ensure_future(client.generate("Hi"))
        await deployment.until(lambda: deployment.gateway.admission.num_requests == 1)
        assert list(deployment.gateway.admission.by_tenant()) == ["acme"]
        asking.cancel()


async def test_a_replaced_certificate_is_shown_to_the_next_connection(
    start: StartDeployment, authority: Authority, pair: KeyPair
) -> None:
    """Certificates live for weeks, gateways for longer; streams that are open go on."""
    deployment = await start(**_server_files(pair), num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    address = deployment.gateway.address
    before = pair.cert_file.read_text()
    async with AsyncClient(address, tls_ca=authority.ca_file) as client:
        asking = asyncio.ensure_future(client.generate("Hi", model="pocket"))
        await worker.until(lambda: bool(worker.groups))
        assert await _shown_certificate(address) == before
        pair.replace_with(authority.issue("renewed"))
        assert await _shown_certificate(address) == pair.cert_file.read_text() != before
        worker.send_output(worker.groups[0], b"late", end=types_pb2.FINISH_REASON_LENGTH)
        assert (await asking).text == "late"


async def test_a_broken_new_pair_leaves_the_last_good_one_in_force(
    tmp_path: Path, authority: Authority, pair: KeyPair
) -> None:
    """A renewal that went wrong is told, and shuts nobody out; the next good pair is taken."""
    before = pair.cert_file.read_text()
    renewed = authority.issue("renewed")
    with gateway_process(tmp_path, TLS_CERT_FILE=str(pair.cert_file), TLS_KEY_FILE=str(pair.key_file)) as gateway:
        pair.cert_file.write_bytes(renewed.cert_file.read_bytes())
        assert await _shown_certificate(gateway.address) == before
        told = gateway.wait_for("certificates are not reloaded; the last good ones stay in force")
        assert told["error"] == f"{pair.key_file} is not the key of {pair.cert_file}"
        pair.cert_file.unlink()
        assert await _shown_certificate(gateway.address) == before
        pair.replace_with(renewed)
        assert await _shown_certificate(gateway.address) == renewed.cert_file.read_text()
        gateway.wait_for("certificates reloaded")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"CERT": "gateway.pem"}, "PENSTOCK_GATEWAY_TLS_CERT_FILE and PENSTOCK_GATEWAY_TLS_KEY_FILE are set together"),
        ({"CLIENT_CA": "authority.ca.pem"}, "PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE needs PENSTOCK_GATEWAY_TLS_CERT_FILE"),
        ({"CERT": "gateway.pem", "KEY": "nowhere"}, "{dir}/nowhere: No such file or directory"),
        ({"CERT": "gateway.pem", "KEY": "other.key"}, "{dir}/other.key is not the key of {dir}/gateway.pem"),
        ({"CERT": "other.key", "KEY": "other.key"}, "are not a certificate and its key, in PEM"),
        ({"CERT": "gateway.pem", "KEY": "gateway.key", "CLIENT_CA": "gateway.key"}, "holds no certificate in PEM"),
    ],
)
def test_a_gateway_does_not_start_on_certificates_that_are_no_good(
    tmp_path: Path, authority: Authority, pair: KeyPair, settings: dict[str, str], line: str
) -> None:
    """One line that names the file; a gateway without TLS where TLS was asked for would be worse than none."""
    authority.issue("other")
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "PENSTOCK_STATE_DIR": str(tmp_path)}
    environment |= {f"PENSTOCK_GATEWAY_TLS_{name}_FILE": str(tmp_path / file) for name, file in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "penstock_gateway"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("error: ")
    assert line.format(dir=tmp_path) in said
