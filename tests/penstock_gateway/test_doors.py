"""The real gateway's door, over real gRPC: keys made, used and revoked while it runs."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, collect_until_error, text_of
from fakes.token_issuer import TokenIssuer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock import AsyncClient
from penstock.client import UnauthenticatedError
from penstock.inference.v1 import inference_pb2
from penstock_gateway.__main__ import Gateway
from penstock_shared.api_keys import MintedKey, mint_key
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.key_file import KeyFile
from penstock_shared.tracing import Tracer


def make_key(state_dir: Path, tenant: str = "acme", lifetime_s: float | None = None) -> MintedKey:
    """As `penstock keys create` does."""
    minted = mint_key(tenant=tenant, name="", now_s=time.time(), lifetime_s=lifetime_s)
    KeyFile(state_dir / "keys.json").add(minted.record)
    return minted


async def refusal(call: object) -> grpc.aio.AioRpcError:
    """How a unary call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_keys_work_and_stop_working_without_a_restart(start: StartDeployment, tmp_path: Path) -> None:
    """Open at first; then keys are made, used and revoked as the operator does it."""
    deployment = await start()
    assert (await deployment.complete("Hi")).choices[0].output.text == "Hello, world"
    key = make_key(tmp_path)
    shown = [("authorization", f"Bearer {key.text}")]
    async with AsyncClient(deployment.gateway.address, api_key=key.text) as client:
        assert (await client.generate("Hi")).text == "Hello, world"
        await until_refused(deployment, [])
        assert text_of(await collect(deployment.generate("Hi", metadata=shown))) == "Hello, world"
        KeyFile(tmp_path / "keys.json").revoke(key.record.key_id, now_s=time.time())
        await until_refused(deployment, shown)
        with pytest.raises(UnauthenticatedError, match="is revoked"):
            await client.generate("Hi")


async def until_refused(deployment: Deployment, metadata: list[tuple[str, str]]) -> None:
    """Calls until the gateway has seen that the file changed: a second at most."""
    code = grpc.StatusCode.OK
    async with asyncio.timeout(10):
        while code is grpc.StatusCode.OK:
            call = deployment.stub.ListModels(inference_pb2.ListModelsRequest(), metadata=metadata)
            code = await call.code()
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_token_works_beside_keys(start: StartDeployment, tmp_path: Path) -> None:
    """Whoever has either is let in as its tenant, and nobody else."""
    issuer, path = TokenIssuer(), tmp_path / "jwks.json"
    path.write_text(issuer.jwks())
    key = make_key(tmp_path, "by-key")
    deployment = await start(jwks_file=path)
    for shown, tenant in ((key.text, "by-key"), (issuer.sign(), "acme")):
        await deployment.complete("Hi", metadata=[("authorization", f"Bearer {shown}")])
        assert deployment.workers[0].groups[-1].tenant == tenant
    for shown in (TokenIssuer().sign(), "nonsense"):
        error = await refusal(deployment.complete("Hi", metadata=[("authorization", f"Bearer {shown}")]))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "the token is not valid")
    assert (await refusal(deployment.complete("Hi"))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_every_rpc_asks_who_calls_but_health(start: StartDeployment, tmp_path: Path) -> None:
    """One that forgot to ask would be the way in."""
    make_key(tmp_path)
    deployment = await start()
    service = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
    assert len(service.methods) == 7
    for method in service.methods:
        call = getattr(deployment.stub, method.name)(getattr(inference_pb2, method.input_type.name)())
        error = (await collect_until_error(call))[1] if method.server_streaming else await refusal(call)
        assert (method.name, error.code()) == (method.name, grpc.StatusCode.UNAUTHENTICATED)
    async with grpc.aio.insecure_channel(deployment.gateway.address) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


async def test_the_tenant_is_the_keys_and_no_header_names_another(start: StartDeployment, tmp_path: Path) -> None:
    """What a client says of itself does not count."""
    key = make_key(tmp_path, "acme")
    deployment = await start()
    metadata = [("x-api-key", key.text), ("tenant", "other"), ("penstock-tenant", "other")]
    await deployment.complete("Hi", metadata=metadata)
    assert deployment.workers[0].groups[-1].tenant == "acme"


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
async def test_other_machines_are_not_let_in_without_keys_by_mistake(start: StartDeployment, bind: str) -> None:
    """One line with both ways out; with a key, or the operator's word, it starts."""
    deployment = await start()
    settings = deployment.settings.model_copy(update={"bind": bind})
    with pytest.raises(FailedPreconditionError, match=r"keys create .* PENSTOCK_GATEWAY_ALLOW_ANONYMOUS=true"):
        Gateway(settings, Tracer("open"))
    Gateway(settings.model_copy(update={"allow_anonymous": True}), Tracer("open"))
    make_key(settings.state_dir)
    Gateway(settings, Tracer("closed"))


async def test_a_broken_key_file_keeps_the_gateway_from_starting(start: StartDeployment, tmp_path: Path) -> None:
    """Better shut than open to everybody."""
    deployment = await start()
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(FailedPreconditionError, match=r"keys\.json"):
        Gateway(deployment.settings, Tracer("broken"))
