"""The port for operators: who gets in, what it tells, what it does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import MODEL, Deployment, StartDeployment, collect
from fakes.scripted_cache import ScriptedCache
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock.cache.v1 import cache_pb2
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import InvalidArgumentError, UnavailableError

Metadata = Sequence[tuple[str, str]]
OpenAdmin = Callable[..., Awaitable["_Admin"]]


class _Admin:
    """An operator's connection.

    Attributes:
        deployment: the gateway's.
        stub: of the admin service.
        metadata: what an operator shows.
    """

    def __init__(self, deployment: Deployment, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self.deployment = deployment
        self.channel = channel
        self.stub: Any = admin_pb2_grpc.AdminServiceStub(channel)
        self.metadata = metadata

    async def status(self) -> admin_pb2.GetStatusResponse:
        """What the gateway says of itself."""
        answer: admin_pb2.GetStatusResponse = await self.stub.GetStatus(
            admin_pb2.GetStatusRequest(), metadata=self.metadata, timeout=10
        )
        return answer

    async def invalidate(self, **fields: Any) -> int:
        """Removes cached answers."""
        request = admin_pb2.InvalidateCacheRequest(**fields)
        answer = await self.stub.InvalidateCache(request, metadata=self.metadata, timeout=10)
        return int(answer.num_removed)


@dataclass(frozen=True)
class _CachedAdmin:
    """An operator's connection to a gateway with a cache."""

    admin: _Admin
    cache: ScriptedCache

    async def ask(self, method: str, request: Any) -> Any:
        """Calls a unary method."""
        return await getattr(self.admin.stub, method)(request, metadata=self.admin.metadata, timeout=10)

    async def explain(self, text: str = "Hi", **fields: Any) -> Any:
        """What the cache would do for a request of tenant acme."""
        request = inference_pb2.GenerationRequest(input=inference_pb2.Input(text=text), **fields)
        return await self.ask("ExplainCache", admin_pb2.ExplainCacheRequest(tenant="acme", request=request))


@pytest.fixture
async def cached(open_admin: OpenAdmin) -> AsyncIterator[_CachedAdmin]:
    """A gateway with a cache service."""
    cache = ScriptedCache()
    await cache.start()
    yield _CachedAdmin(await open_admin(cache_address=cache.address), cache)
    await cache.stop()


@pytest.fixture
async def open_admin(start: StartDeployment, tmp_path: Path) -> AsyncIterator[OpenAdmin]:
    """Starts a gateway with a fleet credential and connects to its admin port; arguments are those of `start`."""
    credential = FleetCredential.create(tmp_path / "credential")
    async with AsyncExitStack() as stack:

        async def connect(**arguments: Any) -> _Admin:
            deployment = await start(fleet_credential_file=tmp_path / "credential", **arguments)
            channel = grpc.aio.insecure_channel(deployment.gateway.admin_address)
            await stack.enter_async_context(channel)
            return _Admin(deployment, channel, credential.metadata())

        yield connect


async def _reflected(channel: grpc.aio.Channel, metadata: Metadata = ()) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(metadata=metadata, timeout=10)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    response = await call.read()
    if response is grpc.aio.EOF:
        raise grpc.aio.AioRpcError(await call.code(), None, None, await call.details())
    return [service.name for service in response.list_services_response.service]


async def _code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


async def test_only_the_fleet_credential_opens_the_port(open_admin: OpenAdmin) -> None:
    """Reflection tells what can be called, so it needs the credential as well; probes need none."""
    admin = await open_admin()
    for metadata in ((), (("penstock-fleet-credential", "x" * 43),)):
        asked = admin.stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=metadata, timeout=10)
        assert await _code(asked) is grpc.StatusCode.UNAUTHENTICATED
        assert await _code(_reflected(admin.channel, metadata)) is grpc.StatusCode.UNAUTHENTICATED
    assert "penstock.admin.v1.AdminService" in await _reflected(admin.channel, admin.metadata)
    health = health_pb2_grpc.HealthStub(admin.channel)
    await admin.deployment.until(lambda: admin.deployment.gateway.is_serving)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_a_fleet_credential_the_port_lets_nobody_in(deployment: Deployment) -> None:
    """Whoever can log in to the machine is not its operator."""
    async with grpc.aio.insecure_channel(deployment.gateway.admin_address) as channel:
        asked = admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
        assert await _code(asked) is grpc.StatusCode.UNAUTHENTICATED


async def test_the_door_for_clients_describes_nothing_unless_told_to(start: StartDeployment) -> None:
    """Neither does it serve the admin service."""
    closed = await start()
    async with grpc.aio.insecure_channel(closed.gateway.address) as channel:
        assert await _code(_reflected(channel)) is grpc.StatusCode.UNIMPLEMENTED
        asked = admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
        assert await _code(asked) is grpc.StatusCode.UNIMPLEMENTED
    described = await start(reflection=True)
    async with grpc.aio.insecure_channel(described.gateway.address) as channel:
        assert "penstock.inference.v1.InferenceService" in await _reflected(channel)


async def test_the_status_tells_who_waits_and_who_works(open_admin: OpenAdmin) -> None:
    """An operator sees in one answer whether a gateway is idle, busy or stuck."""
    admin = await open_admin(num_replicas=0, is_ready=False)
    worker = await admin.deployment.add_worker(reply=None, num_sequences=1)
    await admin.deployment.until_ready()
    running = asyncio.ensure_future(collect(admin.deployment.generate("Hi")))
    await worker.until(lambda: bool(worker.groups))
    waiting = [
        asyncio.ensure_future(collect(admin.deployment.generate("Hi", criticality=criticality)))
        for criticality in (types_pb2.CRITICALITY_CRITICAL, types_pb2.CRITICALITY_STANDARD)
    ]
    await admin.deployment.until(lambda: admin.deployment.num_queued == 2)
    status = await admin.status()
    (model,) = status.models
    assert (model.name, model.revision, model.num_ready_replicas) == (MODEL, "revision-1", 1)
    assert [(depth.criticality, depth.num_requests) for depth in model.queue] == [(3, 1), (2, 1), (1, 0)]
    (replica,) = status.replicas
    assert (replica.replica_id, replica.model, replica.is_draining) == ("replica-0", MODEL, False)
    assert (replica.num_sequences, replica.max_sequences, replica.load) == (1, 1, 1.0)
    assert (status.num_requests, status.num_prompt_tokens, list(status.missing)) == (3, 6, [])
    assert [(each.tenant, each.num_requests, each.num_prompt_tokens) for each in status.tenants] == [("default", 3, 6)]
    for call in (running, *waiting):
        call.cancel()


async def test_cached_answers_are_removed_by_tag_or_all_together(open_admin: OpenAdmin) -> None:
    """What went out of date must not be served again; the tenant is always named."""
    cache = ScriptedCache()
    await cache.start()
    admin = await open_admin(cache_address=cache.address)
    assert await admin.invalidate(tenant="acme", tags=["prices", "stock"]) == 4
    assert await admin.invalidate(tenant="acme", all=True) == 2
    assert cache.invalidations == [
        cache_pb2.InvalidateRequest(tenant="acme", tag="prices"),
        cache_pb2.InvalidateRequest(tenant="acme", tag="stock"),
        cache_pb2.InvalidateRequest(tenant="acme", all=True),
    ]
    cache.failure = UnavailableError("away")
    assert await _code(admin.invalidate(tenant="acme", all=True)) is grpc.StatusCode.UNAVAILABLE
    await cache.stop()


async def test_one_answer_or_those_of_one_revision_are_removed(cached: "_CachedAdmin") -> None:
    """What `penstock cache explain` named, and what other weights said."""
    assert await cached.admin.invalidate(tenant="acme", entry_id="7") == 2
    assert await cached.admin.invalidate(tenant="acme", model_revision="r1") == 2
    assert cached.cache.invalidations == [
        cache_pb2.InvalidateRequest(tenant="acme", entry_id="7"),
        cache_pb2.InvalidateRequest(tenant="acme", model_revision="r1"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"all": True},
        {"tenant": "a"},
        {"tenant": "a", "tags": ["t"], "all": True},
        {"tenant": "a", "tags": ["t"] * 17},
        {"tenant": "a", "entry_id": "7", "model_revision": "r"},
        {"tenant": "a\0", "all": True},
        {"tenant": "a", "tags": ["t", "a\0"]},
        {"tenant": "a", "entry_id": "\0"},
    ],
)
async def test_an_invalidation_that_says_too_little_or_too_much_is_refused(
    open_admin: OpenAdmin, fields: dict[str, Any]
) -> None:
    """An empty request must not empty the cache."""
    admin = await open_admin()
    assert await _code(admin.invalidate(**fields)) is grpc.StatusCode.INVALID_ARGUMENT


GREEDY = {"temperature": 0}


async def test_an_explanation_is_of_the_lookup_that_would_be_made(cached: _CachedAdmin) -> None:
    """Same key, same rate, and the service's own words; nothing is looked up, and nothing generated."""
    told = await cached.explain(sampling=GREEDY)
    (asked,) = cached.cache.explained
    await cached.admin.deployment.complete("Hi", sampling=GREEDY)
    (lookup,) = cached.cache.lookups
    assert (asked.key.model, asked.key.prompt, asked.max_error_rate) == ("pocket", "Hi", 0.01)
    assert (asked.key.tenant, len(asked.key.context_digest)) == ("acme", 32)
    assert asked.key.context_digest != lookup.key.context_digest  # of another tenant
    assert (told.restriction, told.max_error_rate) == ("", 0.01)
    (candidate,) = told.explanation.candidates
    assert (candidate.entry_id, candidate.prompt, candidate.similarity) == ("7", "Hello", 0.9)
    assert len(cached.admin.deployment.workers[0].groups) == 1


async def test_an_explanation_says_where_meaning_does_not_count(cached: _CachedAdmin) -> None:
    """The usual question of an operator is why nothing was found."""
    seeded = await cached.explain(sampling={"seed": 1})
    assert seeded.restriction == "a seed asks for its own sample"
    assert cached.cache.explained[0].key.context_digest == b""
    await cached.explain(sampling=GREEDY, return_token_ids=True)
    assert cached.cache.explained[1].key.context_digest == b""
    free = await cached.explain()
    assert (free.restriction, free.HasField("explanation")) == (
        "sampled without a seed: every answer is another",
        False,
    )
    bypass = inference_pb2.CachePolicy(mode=inference_pb2.CACHE_MODE_BYPASS)
    assert (await cached.explain(sampling=GREEDY, cache=bypass)).restriction == "the request says bypass"


async def test_a_request_that_would_be_refused_is_not_explained(cached: _CachedAdmin) -> None:
    """It has the error that its client would see."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await cached.explain(sampling={"temperature": 3})
    assert raised.value.details() == "request.sampling.temperature: got 3.0; allowed: in [0, 2]"


async def test_the_statistics_are_the_cache_services(cached: _CachedAdmin) -> None:
    """Over all gateways, of one tenant or of all."""
    for tenant in ("acme", ""):
        told = await cached.ask("GetCacheStats", admin_pb2.GetCacheStatsRequest(tenant=tenant))
        assert (told.stats.num_entries, told.stats.error_rate) == (len(tenant), 0.004)


RECORDS = [
    cache_pb2.CacheRecord(entry=cache_pb2.EntryRecord(prompt="Hi")),
    cache_pb2.CacheRecord(label=cache_pb2.LabelRecord(model="pocket", score=1.5)),
]


async def test_what_is_exported_can_be_imported(cached: _CachedAdmin) -> None:
    """All of it, and in order."""
    cached.cache.records = RECORDS
    call = cached.admin.stub.ExportCache(
        admin_pb2.ExportCacheRequest(tenant="acme"), metadata=cached.admin.metadata, timeout=10
    )
    exported = [response.record async for response in call]
    assert exported == RECORDS
    messages = [admin_pb2.ImportCacheRequest(tenant="acme", record=record) for record in exported]
    kept = await cached.ask("ImportCache", iter(messages))
    assert (kept.num_entries, kept.num_labels, kept.num_already_there, kept.num_refused) == (2, 3, 4, 5)
    assert cached.cache.imports == [cache_pb2.ImportRequest(tenant="acme", record=record) for record in RECORDS]


async def test_an_import_is_of_one_tenant(cached: _CachedAdmin) -> None:
    """A stream that changes its mind would put answers where they must not be."""
    messages = [admin_pb2.ImportCacheRequest(tenant=tenant, record=RECORDS[0]) for tenant in ("acme", "other")]
    assert await _code(cached.ask("ImportCache", iter(messages))) is grpc.StatusCode.INVALID_ARGUMENT
    assert await _code(cached.ask("ImportCache", iter([]))) is grpc.StatusCode.INVALID_ARGUMENT
    assert [request.tenant for request in cached.cache.imports] in ([], ["acme"])


async def test_what_the_cache_says_no_to_is_told(cached: _CachedAdmin) -> None:
    """A cache that is away is another thing than a request that it refuses; neither is a defect of the gateway."""
    export = admin_pb2.ExportCacheRequest(tenant="acme")
    messages = [admin_pb2.ImportCacheRequest(tenant="acme", record=record) for record in RECORDS]
    refused, away = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE
    for failure, code in ((InvalidArgumentError("x", "y", "z"), refused), (UnavailableError("away"), away)):
        cached.cache.failure = failure
        assert await _code(cached.ask("GetCacheStats", admin_pb2.GetCacheStatsRequest())) is code
        assert await _code(cached.explain(sampling=GREEDY)) is code
        call = cached.admin.stub.ExportCache(export, metadata=cached.admin.metadata, timeout=10)
        assert await _code(anext(aiter(call))) is code
    assert await _code(cached.ask("ImportCache", iter(messages))) is away


async def test_without_a_cache_there_is_nothing_to_invalidate(open_admin: OpenAdmin) -> None:
    """Told, so that nobody believes that something was removed."""
    admin = _CachedAdmin(await open_admin(), ScriptedCache())
    assert await _code(admin.admin.invalidate(tenant="acme", all=True)) is grpc.StatusCode.FAILED_PRECONDITION
    assert await _code(admin.explain(sampling=GREEDY)) is grpc.StatusCode.FAILED_PRECONDITION
    stats = admin.ask("GetCacheStats", admin_pb2.GetCacheStatsRequest())
    assert await _code(stats) is grpc.StatusCode.FAILED_PRECONDITION
