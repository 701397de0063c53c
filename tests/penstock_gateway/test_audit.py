"""One line for each call: who, what and how it ended, and never what was said."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock.inference.v1 import inference_pb2
from penstock_shared.api_keys import MintedKey, mint_key
from penstock_shared.credentials import FleetCredential
from penstock_shared.key_file import KeyFile

GENERATE = "penstock.inference.v1.InferenceService/Generate"
COMPLETE = "penstock.inference.v1.InferenceService/Complete"


@pytest.fixture
def key(tmp_path: Path) -> MintedKey:
    """A key of tenant `acme`."""
    minted = mint_key(tenant="acme", name="", now_s=time.time(), lifetime_s=None)
    KeyFile(tmp_path / "keys.json").add(minted.record)
    return minted


async def lines(deployment: Deployment, count: int) -> list[dict[str, Any]]:
    """The lines of the log, when there are so many."""
    path = deployment.settings.state_dir / "audit.log"
    await deployment.until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(found) == count
    return found


async def test_a_call_is_one_line_with_all_that_an_auditor_asks(start: StartDeployment, key: MintedKey) -> None:
    """Streamed or whole."""
    deployment = await start()
    shown = [("x-api-key", key.text)]
    events = await collect(deployment.generate("A secret question", metadata=shown))
    answer = await deployment.complete("A secret question", metadata=shown)
    first, second = await lines(deployment, 2)
    assert abs(time.time() - _seconds(first.pop("time"))) < 60
    assert first.pop("peer").startswith("ipv4:127.0.0.1:")
    assert first == {
        "event": "call",
        "method": GENERATE,
        "code": "OK",
        "tenant": "acme",
        "auth": "api_key",
        "credential_id": key.record.key_id,
        "request_id": events[0].started.request_id,
        "prompt_tokens": len("A secret question"),
        "completion_tokens": len("Hello, world"),
    }
    assert (second["method"], second["request_id"]) == (COMPLETE, answer.started.request_id)


async def test_who_was_not_let_in_is_written_down_too(start: StartDeployment, key: MintedKey) -> None:
    """An attack is seen in the log; what was shown is not."""
    deployment = await start()
    with pytest.raises(grpc.aio.AioRpcError):
        await deployment.complete(metadata=[("x-api-key", f"{key.text}x")])
    (line,) = await lines(deployment, 1)
    assert (line["code"], line["tenant"], line["credential_id"]) == ("UNAUTHENTICATED", None, None)
    assert (line["request_id"], line["prompt_tokens"]) == (None, None)


async def test_failures_and_cancellations_are_written_with_their_code(start: StartDeployment) -> None:
    """With the tokens as far as it came."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    with pytest.raises(grpc.aio.AioRpcError):
        await deployment.complete(sampling={"temperature": 9})
    call = deployment.generate("Hi")
    await worker.until(lambda: bool(worker.groups))
    worker.send_output(worker.groups[0], b"abc")
    while (await call.read()).WhichOneof("event") != "delta":
        pass
    call.cancel()
    refused, cancelled = await lines(deployment, 2)
    assert (refused["code"], refused["tenant"], refused["auth"]) == ("INVALID_ARGUMENT", "default", "anonymous")
    assert (cancelled["code"], cancelled["prompt_tokens"], cancelled["completion_tokens"]) == ("CANCELLED", 2, 3)


async def test_what_operators_do_is_written_too(start: StartDeployment, tmp_path: Path) -> None:
    """They can do more than any client."""
    credential = FleetCredential.create(tmp_path / "credential")
    deployment = await start(fleet_credential_file=tmp_path / "credential")
    async with grpc.aio.insecure_channel(deployment.gateway.admin_address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        await stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=credential.metadata())
        await stub.GetStatus(admin_pb2.GetStatusRequest()).code()
    told = [(line["method"], line["code"], line["auth"], line["tenant"]) for line in await lines(deployment, 2)]
    method = "penstock.admin.v1.AdminService/GetStatus"
    assert told == [(method, "OK", "fleet", None), (method, "UNAUTHENTICATED", None, None)]


async def test_neither_texts_nor_secrets_are_written(start: StartDeployment, key: MintedKey) -> None:
    """The log is for people who may not read the conversations."""
    deployment = await start()
    await deployment.complete("A secret question", metadata=[("x-api-key", key.text)])
    await lines(deployment, 1)
    text = (deployment.settings.state_dir / "audit.log").read_text()
    assert not any(part in text for part in ("question", "Hello", key.text, key.text.split("_", 2)[2]))


async def test_health_checks_are_not_written(start: StartDeployment) -> None:
    """Probes come every second and mean nothing."""
    deployment = await start()
    async with grpc.aio.insecure_channel(deployment.gateway.address) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await deployment.stub.ListModels(inference_pb2.ListModelsRequest())
    (line,) = await lines(deployment, 1)
    assert line["method"].endswith("/ListModels")


async def test_it_can_be_turned_off(start: StartDeployment, tmp_path: Path) -> None:
    """For who keeps such records elsewhere."""
    deployment = await start(audit_log=False)
    await deployment.complete()
    assert not (tmp_path / "audit.log").exists()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
