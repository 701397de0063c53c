"""The service as a process of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from fakes.certificates import Authority, client_credentials, inner_tls_variables
from fakes.scripted_fleet import ScriptedFleet
from fakes.tokenizer_dirs import byte_level_bpe, write_tokenizer_dir
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import Directory, ModelSpec, SamplingDefaults
from penstock_shared.tls import ReloadingCertificates, TlsFiles
from penstock_tokenizer.catalog import fingerprints_of

COMMAND = (sys.executable, "-m", "penstock_tokenizer")
SERVING = health_pb2.HealthCheckResponse.SERVING


def environment(state_dir: Path, **variables: str) -> dict[str, str]:
    """This process's environment, told to listen on any port and to log JSON."""
    told = {
        "PENSTOCK_TOKENIZER_BIND": "127.0.0.1:0",
        "PENSTOCK_TOKENIZER_NUM_RENDER_PROCESSES": "1",
        "PENSTOCK_LOG_JSON": "1",
        "PENSTOCK_STATE_DIR": str(state_dir),
    }
    return os.environ | told | variables


@asynccontextmanager
async def running(variables: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The service and its address."""
    process = await asyncio.create_subprocess_exec(*COMMAND, env=variables, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "listening":
                yield process, event["address"]
                break
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def wait_until_serving(channel: grpc.aio.Channel) -> None:
    """Returns when the service states that it can serve."""
    async for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
        if response.status == SERVING:
            return


async def test_it_serves_until_sigterm_and_leaves_nothing(tmp_path: Path) -> None:
    """`penstock down` must leave no process, render processes included."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    async with running(environment(tmp_path, PENSTOCK_TOKENIZER_MODELS=json.dumps({"one": str(directory)}))) as (
        process,
        address,
    ):
        async with grpc.aio.insecure_channel(address) as channel:
            await wait_until_serving(channel)
            stub = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
            response = await stub.Encode(tokenizer_pb2.EncodeRequest(model="one", texts=["hi"]))
            assert len(response.sequences[0].ids) > 0
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 1
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert psutil.wait_procs(children, timeout=5)[1] == []


async def test_it_serves_what_the_fleet_names_and_keeps_it_when_the_fleet_is_gone(tmp_path: Path) -> None:
    """Requests go on while the fleet restarts."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    fingerprints = fingerprints_of(directory)
    spec = ModelSpec("one", "r", fingerprints.tokenizer, "", 128, (1,), SamplingDefaults(), 400, str(directory))
    fleet = ScriptedFleet()
    await fleet.start()
    async with (
        running(environment(tmp_path, PENSTOCK_TOKENIZER_FLEET_ADDRESS=fleet.address)) as (_, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        before = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        await fleet.publish(Directory(version=1, models=(spec,)))
        await wait_until_serving(channel)
        await fleet.stop()
        stub = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
        response = await stub.Encode(tokenizer_pb2.EncodeRequest(model="one", texts=["hi"]))
    assert before.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert response.tokenizer_fingerprint == fingerprints.tokenizer


async def test_with_certificates_it_speaks_tls_to_both_sides(tmp_path: Path) -> None:
    """The fleet tells it of a model only if it shows a certificate, and so must whoever asks it."""
    authority = Authority(tmp_path)
    own, fleets = authority.issue("tokenizer"), authority.issue("fleet")
    fleet = ScriptedFleet(ReloadingCertificates(TlsFiles(fleets.cert_file, fleets.key_file, authority.ca_file)))
    await fleet.start()
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    fingerprint = fingerprints_of(directory).tokenizer
    spec = ModelSpec("one", "r", fingerprint, "", 128, (1,), SamplingDefaults(), 400, str(directory))
    await fleet.publish(Directory(version=1, models=(spec,)))
    variables = inner_tls_variables(own, authority) | {"PENSTOCK_TOKENIZER_FLEET_ADDRESS": fleet.address}
    async with running(environment(tmp_path, **variables)) as (_, address):
        async with grpc.aio.secure_channel(address, client_credentials(fleets, authority)) as channel:
            await asyncio.wait_for(wait_until_serving(channel), 30)
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await fleet.stop()


async def test_callers_without_the_fleet_credential_are_turned_away(tmp_path: Path) -> None:
    """Inner services trust what the gateway says of a request, so nobody else may ask."""
    credential = FleetCredential.create(tmp_path / "credential")
    variables = environment(tmp_path, PENSTOCK_FLEET_CREDENTIAL_FILE=str(tmp_path / "credential"))
    async with running(variables) as (_, address), grpc.aio.insecure_channel(address) as channel:
        stub = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
        codes = []
        for metadata in ((), credential.metadata()):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Encode(tokenizer_pb2.EncodeRequest(model="one"), metadata=metadata)
            codes.append(caught.value.code())
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"PENSTOCK_TOKENIZER_MODELS": '{"one": "/nowhere"}'}, "/nowhere has no tokenizer.json"),
        ({"PENSTOCK_TOKENIZER_BIND": "somewhere"}, "PENSTOCK_TOKENIZER_BIND: got 'somewhere'"),
        ({"PENSTOCK_TOKENIZER_RENDER_TIMEOUT_S": "0"}, "PENSTOCK_TOKENIZER_RENDER_TIMEOUT_S: got '0'"),
    ],
)
def test_a_start_that_fails_says_why_in_one_line(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    """The operator sees it at once, not a traceback."""
    result = subprocess.run(
        COMMAND, env=environment(tmp_path, **variables), capture_output=True, text=True, check=False
    )
    errors = [found for found in result.stderr.splitlines() if not found.startswith("{")]
    assert (result.returncode, len(errors)) == (1, 1)
    assert errors[0].startswith(f"error: {line}")


def test_it_imports_no_torch_no_transformers_and_no_ray() -> None:
    """They cost seconds of start and hundreds of megabytes; a fresh process shows what is really imported."""
    code = "import sys, penstock_tokenizer.__main__; print(*({'torch', 'transformers', 'ray'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_the_render_process_imports_jinja_only() -> None:
    """It runs hostile templates: what it does not have, they cannot reach."""
    code = "import sys, penstock_tokenizer.rendering.worker; print(*({'grpc', 'tokenizers'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
