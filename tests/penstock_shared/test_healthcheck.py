"""The probe that containers are checked with."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.certificates import Authority, inner_tls_variables

from penstock_shared.server import GrpcServer
from penstock_shared.settings import ServiceSettings
from penstock_shared.tls import ReloadingCertificates, TlsFiles
from penstock_shared.tracing import make_tracer


async def probed(*arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and what was said."""
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock_shared.healthcheck",
        *arguments,
        env=os.environ | variables,
        stderr=subprocess.PIPE,
    )
    _, said = await probe.communicate()
    assert probe.returncode is not None
    return probe.returncode, said.decode().strip()


@pytest.mark.parametrize(("is_serving", "expected"), [(True, (0, "")), (False, (1, "{address}: NOT_SERVING"))])
async def test_a_server_is_healthy_when_it_says_that_it_can_serve(is_serving: bool, expected: tuple[int, str]) -> None:
    """Listening is not enough: an engine must not send work to a service that cannot do it."""
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=make_tracer("test", ServiceSettings()))
    address = f"127.0.0.1:{await server.start()}"
    await server.set_serving(is_serving)
    code, said = await probed(address)
    await server.drain(0)
    assert (code, said) == (expected[0], expected[1].format(address=address))


async def test_a_server_behind_tls_is_asked_with_the_services_own_certificate(tmp_path: Path) -> None:
    """Probes run inside the container, which has one; without it they would restart a healthy service."""
    authority = Authority(tmp_path)
    pair = authority.issue("cache", hosts=["penstock.internal"])
    server = GrpcServer(
        bind="127.0.0.1:0",
        service_names=[],
        tracer=make_tracer("test", ServiceSettings()),
        certificates=ReloadingCertificates(TlsFiles(pair.cert_file, pair.key_file, authority.ca_file)),
    )
    address = f"127.0.0.1:{await server.start()}"
    await server.set_serving(True)
    variables = inner_tls_variables(pair, authority) | {"PENSTOCK_INNER_TLS_SERVER_NAME": "penstock.internal"}
    assert await probed("--inner-tls", address, **variables) == (0, "")
    assert (await probed(address, **variables))[0] == 1
    code, said = await probed("--inner-tls", address, PENSTOCK_INNER_TLS_CERT_FILE="/nowhere")
    await server.drain(0)
    assert code == 1
    assert said.startswith("PENSTOCK_INNER_TLS_CERT_FILE, ")


async def test_nobody_there_is_unhealthy() -> None:
    """With the reason, which container engines keep for the operator."""
    code, said = await probed("127.0.0.1:1")
    assert code == 1
    assert said.startswith("127.0.0.1:1: UNAVAILABLE: ")
