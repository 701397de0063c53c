"""Quotas over real gRPC: each tenant has its own, and is told which is used up and until when."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import MODEL, Deployment, StartDeployment, details_of
from fakes.scripted_cache import ScriptedCache

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.api_keys import mint_key
from penstock_shared.key_file import KeyFile

GREEDY = {"temperature": 0}


@pytest.fixture
async def cache() -> AsyncIterator[ScriptedCache]:
    """A cache service."""
    made = ScriptedCache()
    await made.start()
    yield made
    await made.stop()


def key_of(state_dir: Path, tenant: str) -> list[tuple[str, str]]:
    """A new key of `tenant`, as metadata."""
    minted = mint_key(tenant=tenant, name="", now_s=time.time(), lifetime_s=None)
    KeyFile(state_dir / "keys.json").add(minted.record)
    return [("x-api-key", minted.text)]


def write_tenants(state_dir: Path, **tenants: dict[str, Any]) -> None:
    """The tenants file."""
    (state_dir / "tenants.json").write_text(json.dumps({"version": 1, "tenants": tenants}))


async def refusal(deployment: Deployment, *args: Any, **kwargs: Any) -> tuple[str, float]:
    """Which quota refuses a request, and for how long."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete(*args, **kwargs)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(caught.value)
    return details["QuotaFailure"].violations[0].subject, details["RetryInfo"].retry_delay.ToNanoseconds() / 1e9


async def test_requests_a_minute_are_each_tenants_own(start: StartDeployment, tmp_path: Path) -> None:
    """The others do not notice."""
    acme, other = key_of(tmp_path, "acme"), key_of(tmp_path, "other")
    write_tenants(tmp_path, acme={"requests_per_minute": 3})
    deployment = await start()
    await deployment.complete(metadata=acme)
    await deployment.complete(metadata=acme)
    await deployment.stub.CountTokens(
        inference_pb2.CountTokensRequest(input=inference_pb2.Input(text="Hi")), metadata=acme
    )
    quota, retry_after_s = await refusal(deployment, metadata=acme)
    assert quota == "tenant.requests_per_minute"
    assert 10 < retry_after_s <= 20
    await deployment.complete(metadata=other)
    await deployment.until_idle()


async def test_a_request_that_is_refused_for_another_reason_costs_nothing(
    start: StartDeployment, tmp_path: Path
) -> None:
    """Neither bad input nor a full house is the tenant's use."""
    write_tenants(tmp_path, default={"requests_per_minute": 1, "max_requests": 1})
    deployment = await start()
    with pytest.raises(grpc.aio.AioRpcError, match="temperature"):
        await deployment.complete(sampling={"temperature": 9})
    assert (await refusal(deployment))[0] == "tenant.requests"
    await deployment.complete(criticality=types_pb2.CRITICALITY_CRITICAL)


async def test_input_tokens_are_settled_at_their_real_number(start: StartDeployment, tmp_path: Path) -> None:
    """The tokenizer here counts bytes, four times the estimate."""
    write_tenants(tmp_path, default={"input_tokens_per_minute": 100})
    deployment = await start()
    await deployment.complete("x" * 160)
    quota, retry_after_s = await refusal(deployment, "x" * 40)
    assert quota == "tenant.input_tokens_per_minute"
    assert 35 < retry_after_s <= 43


async def test_output_tokens_are_charged_as_they_come(start: StartDeployment, tmp_path: Path) -> None:
    """Also those of a stream that still runs."""
    write_tenants(tmp_path, default={"output_tokens_per_minute": 60})
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    call = deployment.generate()
    await worker.until(lambda: bool(worker.groups))
    worker.send_output(worker.groups[0], b"x" * 90)
    while (await call.read()).WhichOneof("event") != "delta":
        pass
    quota, retry_after_s = await refusal(deployment)
    assert quota == "tenant.output_tokens_per_minute"
    assert 25 < retry_after_s <= 31
    call.cancel()
    await deployment.until_idle()


async def test_a_cache_hit_counts_as_a_request_and_costs_no_tokens(
    start: StartDeployment, cache: ScriptedCache, tmp_path: Path
) -> None:
    """Nothing was computed for it. A second charge of tokens would use up either of their rates."""
    write_tenants(
        tmp_path, default={"requests_per_minute": 3, "input_tokens_per_minute": 15, "output_tokens_per_minute": 20}
    )
    deployment = await start(cache_address=cache.address)
    first = await deployment.complete("Hello there", sampling=GREEDY)
    assert (first.final.usage.prompt_tokens, first.final.usage.completion_tokens) == (11, 12)
    await cache.until_kept(1)
    for _ in range(2):
        answer = await deployment.complete("Hello there", sampling=GREEDY)
        assert answer.started.cache.outcome == inference_pb2.CACHE_OUTCOME_EXACT_HIT
    assert (await refusal(deployment, "Hello there", sampling=GREEDY))[0] == "tenant.requests_per_minute"


async def test_requests_that_share_a_generation_pay_for_it_once(start: StartDeployment, tmp_path: Path) -> None:
    """Twelve tokens are made, whoever waits for them; a second charge would use up the rate."""
    write_tenants(tmp_path, default={"input_tokens_per_minute": 20, "output_tokens_per_minute": 20})
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    calls = [asyncio.ensure_future(deployment.complete("Hello there", sampling=GREEDY))]
    await worker.until(lambda: len(worker.groups) == 1)
    calls.append(asyncio.ensure_future(deployment.complete("Hello there", sampling=GREEDY)))
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 2)
    worker.send_output(worker.groups[0], b"Hello, world", end=types_pb2.FINISH_REASON_STOP)
    outcomes = [(await call).started.cache.outcome for call in calls]
    assert outcomes == [inference_pb2.CACHE_OUTCOME_SKIPPED, inference_pb2.CACHE_OUTCOME_JOINED]
    third = deployment.generate("Hi")
    await worker.until(lambda: len(worker.groups) == 2)
    third.cancel()


async def test_one_tenants_answers_are_not_found_by_another(
    start: StartDeployment, cache: ScriptedCache, tmp_path: Path
) -> None:
    """Not even when it asks the very same, under the same scope."""
    acme, other = key_of(tmp_path, "acme"), key_of(tmp_path, "other")
    deployment = await start(cache_address=cache.address)
    policy = inference_pb2.CachePolicy(scope="shared")
    await deployment.complete(sampling=GREEDY, cache=policy, metadata=acme)
    await cache.until_kept(1)
    answers = [await deployment.complete(sampling=GREEDY, cache=policy, metadata=who) for who in (other, acme)]
    assert [answer.started.cache.outcome for answer in answers] == [
        inference_pb2.CACHE_OUTCOME_MISS,
        inference_pb2.CACHE_OUTCOME_EXACT_HIT,
    ]


async def test_tenants_do_not_join_each_others_generations(start: StartDeployment, tmp_path: Path) -> None:
    """Who asks the same at the same moment gets an answer of its own, and pays for it."""
    acme, other = key_of(tmp_path, "acme"), key_of(tmp_path, "other")
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    calls = [deployment.generate(sampling=GREEDY, metadata=who) for who in (acme, other)]
    await worker.until(lambda: len(worker.groups) == 2)
    assert {group.tenant for group in worker.groups} == {"acme", "other"}
    for call in calls:
        call.cancel()
    await deployment.until_idle()


async def test_bounds_under_way_are_each_tenants_own(start: StartDeployment, tmp_path: Path) -> None:
    """And those without an entry have the settings."""
    acme, other = key_of(tmp_path, "acme"), key_of(tmp_path, "other")
    write_tenants(tmp_path, acme={"max_requests": 2})
    deployment = await start(num_replicas=0, is_ready=False)
    await deployment.add_worker(reply=None)
    await deployment.until_ready()
    running = deployment.generate(metadata=acme)
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 1)
    assert (await refusal(deployment, metadata=acme))[0] == "tenant.requests"
    more = [deployment.generate(metadata=other) for _ in range(3)]
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 4)
    for call in (running, *more):
        call.cancel()
    await deployment.until_idle()


async def test_criticality_is_capped_by_the_tenants_policy(start: StartDeployment, tmp_path: Path) -> None:
    """At admission and at the replica."""
    acme = key_of(tmp_path, "acme")
    write_tenants(tmp_path, acme={"max_criticality": "standard"})
    deployment = await start()
    await deployment.complete(metadata=acme, criticality=types_pb2.CRITICALITY_CRITICAL)
    assert deployment.workers[0].groups[-1].criticality == types_pb2.CRITICALITY_STANDARD


async def test_the_tenants_file_is_read_again_while_the_gateway_runs(start: StartDeployment, tmp_path: Path) -> None:
    """An operator who must slow somebody down does not restart for it."""
    deployment = await start()
    await deployment.complete()
    write_tenants(tmp_path, default={"requests_per_minute": 1})
    async with asyncio.timeout(20):
        while await succeeds(deployment):
            pass


async def succeeds(deployment: Deployment) -> bool:
    """Whether a request is let through."""
    code = await deployment.stub.CountTokens(
        inference_pb2.CountTokensRequest(model=MODEL, input=inference_pb2.Input(text="Hi"))
    ).code()
    return bool(code is grpc.StatusCode.OK)
