"""Every accepted request ends once, whenever and however it ends, and leaves nothing behind."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, collect_until_error, details_of, text_of

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.errors import (
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
    to_proto_error,
)


async def silent(start: StartDeployment, **settings: object) -> Deployment:
    """One replica that leaves the steps to the test."""
    deployment = await start(num_replicas=0, is_ready=False, **settings)
    await deployment.add_worker(reply=None, num_sequences=1)
    await deployment.until_ready()
    return deployment


async def hold_at_tokenizer(deployment: Deployment) -> None:
    """Requests stop at tokenization."""
    deployment.tokenizer.gate.clear()


async def hold_in_queue(deployment: Deployment) -> None:
    """Requests stop in the queue: there is no credit."""
    (worker,) = deployment.workers
    worker.num_sequences = 0
    worker.send(credit=worker.credit(epoch=2))
    await deployment.until(lambda: deployment.gateway.dispatcher.links[0].ledger.credit.epoch == 2)


async def hold_at_worker(_deployment: Deployment) -> None:
    """Requests stop at the worker, which says nothing."""


async def arrived(deployment: Deployment, stage: str) -> None:
    """Waits until the request under test is at the stage where it stops."""
    if stage == "tokenizer":
        await deployment.tokenizer.has_caller.wait()
    elif stage == "queue":
        await deployment.until(lambda: deployment.num_queued == 1)
    else:
        await deployment.workers[0].until(lambda: len(deployment.workers[0].groups) == 1)


HOLDS: dict[str, Callable[[Deployment], Awaitable[None]]] = {
    "tokenizer": hold_at_tokenizer,
    "queue": hold_in_queue,
    "worker": hold_at_worker,
}


@pytest.mark.parametrize("stage", HOLDS)
async def test_a_cancelled_request_leaves_nothing(start: StartDeployment, stage: str) -> None:
    """Ghost work after a disconnect is the commonest leak of serving stacks; one test for each place to wait at."""
    deployment = await silent(start)
    await HOLDS[stage](deployment)
    call = deployment.generate("Hi")
    reading = asyncio.ensure_future(collect(call))
    await arrived(deployment, stage)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await deployment.until_idle()
    await deployment.workers[0].until(lambda: deployment.workers[0].num_running == 0)


@pytest.mark.parametrize("stage", HOLDS)
@pytest.mark.parametrize("method", ["generate", "complete"])
async def test_a_deadline_ends_a_request_wherever_it_is(start: StartDeployment, stage: str, method: str) -> None:
    """The service's own maximum is a deadline too, so the status comes from the gateway and not from the client."""
    deployment = await silent(start, max_request_s=0.3)
    await HOLDS[stage](deployment)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (collect(deployment.generate("Hi")) if method == "generate" else deployment.complete("Hi"))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "ErrorInfo" in details_of(caught.value)
    await deployment.until_idle()
    await deployment.workers[0].until(lambda: deployment.workers[0].num_running == 0)


async def test_the_clients_deadline_reaches_the_worker(start: StartDeployment) -> None:
    """The worker stops what nobody waits for, even where the gateway is gone."""
    deployment = await silent(start)
    call = deployment.generate("Hi", timeout_s=5)
    (worker,) = deployment.workers
    await worker.until(lambda: bool(worker.groups))
    remaining_s = (worker.groups[0].deadline.ToNanoseconds() - time.time_ns()) / 1e9
    assert 0 < remaining_s < 5.1
    call.cancel()
    await deployment.until_idle()


async def test_a_cancel_in_mid_stream_reaches_the_worker_at_once(start: StartDeployment) -> None:
    """The first tokens were delivered, then the client goes away."""
    deployment = await silent(start)
    (worker,) = deployment.workers
    call = deployment.generate("Hi")
    await worker.until(lambda: bool(worker.groups))
    worker.send_output(worker.groups[0], b"abc")
    received = [await call.read(), await call.read()]
    assert text_of(received) == "abc"
    call.cancel()
    await worker.until(lambda: bool(worker.cancels), timeout_s=1)
    assert worker.cancels == [(worker.groups[0].choices[0].sequence_id, 1)]
    await deployment.until_idle()


async def test_an_error_of_a_sequence_is_the_requests_error(start: StartDeployment) -> None:
    """The other choice is stopped, and the status tells why, after the text that came before."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    call = deployment.generate("Hi", sampling={"n": 2})
    await worker.until(lambda: bool(worker.groups))
    (group,) = worker.groups
    worker.send_output(group, b"so far")
    error = to_proto_error(InternalError("sampling failed"))
    end = worker_pb2.SequenceEnd(reason=types_pb2.FINISH_REASON_ERROR, error=error)
    output = worker_pb2.SequenceOutput(sequence_id=group.choices[0].sequence_id, attempt=1, end=end)
    worker.send(step=worker_pb2.Step(outputs=[output]))
    events, failure = await collect_until_error(call)
    assert text_of(events) == "so far"
    assert (failure.code(), failure.details()) == (grpc.StatusCode.INTERNAL, "sampling failed")
    await worker.until(lambda: worker.cancels == [(group.choices[1].sequence_id, 1)])
    await deployment.until_idle()


async def test_a_refused_sequence_is_the_requests_error(start: StartDeployment) -> None:
    """What can never run on a replica is told as the replica tells it."""
    deployment = await silent(start)
    (worker,) = deployment.workers
    worker.refuse_next = "no room for it"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("Hi")
    assert caught.value.details() == "no room for it"
    await deployment.until_idle()


async def test_a_tokenizer_that_fails_once_is_asked_again(deployment: Deployment) -> None:
    """An instance that restarts must not be the client's error."""
    deployment.tokenizer.failures = [UnavailableError("restarting")]
    answer = await deployment.complete("Hi")
    assert answer.choices[0].output.text == "Hello, world"
    assert deployment.tokenizer.num_calls == 2


@pytest.mark.parametrize(
    ("given", "inner", "field"),
    [
        ({"text": "Hi"}, "texts", "request.input.text"),
        (
            {"chat": {"messages": [{"role": "user", "content": "Hi"}]}},
            "messages[0].tool_calls[0].arguments_json",
            "request.input.chat.messages[0].tool_calls[0].arguments_json",
        ),
    ],
)
async def test_what_the_tokenizer_refuses_is_told_in_the_clients_own_words(
    deployment: Deployment, given: dict[str, Any], inner: str, field: str
) -> None:
    """The field of an inner request would send the caller looking in vain."""
    deployment.tokenizer.failures = [InvalidArgumentError(inner, "x", "a JSON object")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.stub.Complete(inference_pb2.CompleteRequest(request={"input": given}))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"{field}: got 'x'; allowed: a JSON object"
    (violation,) = details_of(caught.value)["BadRequest"].field_violations
    assert violation.field == field


async def test_when_the_tokenizer_says_come_back_the_client_hears_when(deployment: Deployment) -> None:
    """Its own pool may be full; the time to come back is its to say."""
    deployment.tokenizer.failures = [ResourceExhaustedError("full", quota="pool", retry_after_s=2.5)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("Hi")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(caught.value)["RetryInfo"].retry_delay.ToNanoseconds() == 2_500_000_000


async def test_without_a_tokenizer_the_client_is_told_to_come_back(deployment: Deployment) -> None:
    """UNAVAILABLE with a hint, and nothing left; streams under way do not need it."""
    await deployment.tokenizer.stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("Hi")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(caught.value)["RetryInfo"].retry_delay.ToNanoseconds() > 0
    await deployment.until_idle()
    await deployment.until(lambda: deployment.gateway.missing() != [])
