"""`Embed` through the whole gateway, against replicas that make a vector of each prompt's bytes."""

import asyncio
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2


def embed(deployment: Deployment, *texts: str, timeout_s: float = 20, **fields: Any) -> Any:
    """Starts a call."""
    inputs = [inference_pb2.Input(text=text) for text in texts]
    return deployment.stub.Embed(inference_pb2.EmbedRequest(inputs=inputs, **fields), timeout=timeout_s)


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_each_input_has_its_vector(pair: Deployment) -> None:
    """In the order of the inputs, over both replicas, and nothing is left behind."""
    texts = [chr(ord("a") + index) * (index + 1) for index in range(20)]
    response = await embed(pair, *texts)
    assert [list(each.values) for each in response.embeddings] == [[len(text), sum(text.encode())] for text in texts]
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (210, 0)
    assert all(worker.groups for worker in pair.workers)
    await pair.until_idle()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (inference_pb2.POOLING_UNSPECIFIED, worker_pb2.EMBED_POOLING_LAST_TOKEN),
        (inference_pb2.POOLING_LAST_TOKEN, worker_pb2.EMBED_POOLING_LAST_TOKEN),
        (inference_pb2.POOLING_MEAN, worker_pb2.EMBED_POOLING_MEAN),
    ],
)
async def test_how_tokens_become_one_vector_reaches_the_replica(
    deployment: Deployment, pooling: inference_pb2.Pooling.ValueType, expected: int
) -> None:
    """With the request's criticality, whose cap is the tenant's."""
    critical = types_pb2.CRITICALITY_SHEDDABLE
    await embed(deployment, "Hi", pooling=pooling, normalize=True, criticality=critical)
    (group,) = deployment.workers[0].groups
    assert (group.embed.pooling, group.embed.normalize, group.criticality) == (expected, True, critical)
    assert bytes(group.prompt_token_ids) == b"Hi"


@pytest.mark.parametrize(
    ("texts", "fields", "field", "allowed"),
    [
        ((), {}, "inputs", "1 to 256 entries"),
        (("x",) * 257, {}, "inputs", "at most 256 entries"),
        (("x", ""), {}, "inputs[1].text", "at least one"),
        (("x", "y" * 2000), {}, "inputs[1]", "at most 1023 tokens"),
        (("x",), {"pooling": 7}, "pooling", "1 (MEAN), 2 (LAST_TOKEN)"),
    ],
)
async def test_a_bad_input_is_named(
    deployment: Deployment, texts: tuple[str, ...], fields: dict[str, Any], field: str, allowed: str
) -> None:
    """One error that says which of many inputs it is; nothing reaches a replica."""
    error = await refusal(embed(deployment, *texts, **fields))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(error.details()).startswith(f"{field}: got ")
    assert allowed in str(error.details())
    assert not deployment.workers[0].groups
    await deployment.until_idle()


async def test_vectors_of_a_dead_replica_are_made_elsewhere(start: StartDeployment) -> None:
    """Those that it has given stay; nobody sees the death."""
    deployment = await start(num_replicas=0, is_ready=False)
    dying = await deployment.add_worker(reply=None)
    await deployment.until_ready(1)
    call = embed(deployment, "a", "b")
    await dying.until(lambda: len(dying.groups) == 2)
    dying.send_embedding(dying.groups[0], [1.5])
    await deployment.add_worker()
    await deployment.until_ready(2)
    dying.break_sessions()
    response = await call
    assert [list(each.values) for each in response.embeddings] == [[1.5], [1.0, 98.0]]
    await deployment.until_idle()


async def test_first_input_that_fails_ends_the_others(start: StartDeployment) -> None:
    """Whichever it is: nobody waits for vectors that nobody gets."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready(1)
    call = embed(deployment, "a", "b", "c")
    await worker.until(lambda: len(worker.groups) == 3)
    worker.send_embedding(worker.groups[1], [])
    error = await refusal(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "the replica gave no embedding")
    await worker.until(lambda: len(worker.cancels) == 2)
    await deployment.until_idle()


async def test_who_gives_up_leaves_nothing_running(start: StartDeployment) -> None:
    """A cancelled request takes all its inputs out of queue and replica."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None, num_sequences=2)
    await deployment.until_ready(1)
    call = embed(deployment, "a", "b", "c", "d")
    await worker.until(lambda: len(worker.groups) == 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await worker.until(lambda: len(worker.cancels) == 2)
    await deployment.until_idle()


async def test_embeddings_use_the_rates_of_their_tenant(start: StartDeployment) -> None:
    """A request over the bound of prompt tokens is told so at once."""
    deployment = await start(max_prompt_tokens=50)
    error = await refusal(embed(deployment, *["x" * 40] * 10))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len((await embed(deployment, "x" * 40)).embeddings) == 1
    await deployment.until_idle()


async def test_a_replica_of_an_older_contract_is_asked_for_nothing(deployment: Deployment) -> None:
    """It would ignore the field that it does not know, and generate."""
    old = await deployment.add_worker(contract_version=1)
    await deployment.until(lambda: old.num_hellos > 0)
    await asyncio.gather(*(embed(deployment, "Hi") for _ in range(20)))
    assert old.groups == []
