"""Credit, queue, admission and slow readers: what happens when there is not room for all."""

import asyncio

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, details_of, kinds_of, text_of

from penstock.types.v1 import types_pb2


async def one_at_a_time(start: StartDeployment, **settings: object) -> Deployment:
    """One replica with credit for one sequence, which leaves the steps to the test."""
    deployment = await start(num_replicas=0, is_ready=False, **settings)
    await deployment.add_worker(reply=None, num_sequences=1)
    await deployment.until_ready()
    return deployment


def end_running(deployment: Deployment) -> None:
    """The one sequence that runs comes to its end."""
    worker = deployment.workers[0]
    worker.send_output(worker.groups[-1], b"ok", end=types_pb2.FINISH_REASON_STOP)


async def test_work_waits_in_the_gateway_until_there_is_credit(start: StartDeployment) -> None:
    """Late binding: nothing queues at the worker, where it could not be reordered."""
    deployment = await one_at_a_time(start)
    (worker,) = deployment.workers
    answers = [asyncio.ensure_future(deployment.complete(f"request {number}")) for number in range(3)]
    for done in range(3):
        await worker.until(lambda done=done: len(worker.groups) == done + 1)
        assert worker.num_running == 1
        end_running(deployment)
    assert [(await answer).choices[0].output.text for answer in answers] == ["ok"] * 3


async def test_what_waits_is_told_to_the_worker(start: StartDeployment) -> None:
    """Workers share credit out by the demand of their gateways."""
    deployment = await one_at_a_time(start)
    (worker,) = deployment.workers
    calls = [deployment.generate("four") for _ in range(3)]
    await worker.until(lambda: bool(worker.demands))
    await worker.until(lambda: (worker.demands[-1].num_sequences, worker.demands[-1].prefill_tokens) == (2, 8))
    for call in calls:
        call.cancel()
    await worker.until(lambda: worker.demands[-1].num_sequences == 0)


async def test_new_credit_dispatches_all_that_waits_in_one_message(start: StartDeployment) -> None:
    """Assigned jointly, and one message for a replica however many sequences it gets."""
    deployment = await one_at_a_time(start)
    (worker,) = deployment.workers
    calls = [deployment.generate(f"request {number}") for number in range(6)]
    await deployment.until(lambda: deployment.num_queued == 5)
    worker.num_sequences = 8
    worker.send(credit=worker.credit(epoch=2))
    await worker.until(lambda: len(worker.groups) == 6)
    assert [(submit.credit_epoch, len(submit.groups)) for submit in worker.submits] == [(1, 1), (2, 5)]
    for call in calls:
        call.cancel()
    await deployment.until_idle()


async def test_a_burst_is_spread_over_the_replicas(start: StartDeployment) -> None:
    """Load is counted at dispatch, so that a burst does not herd onto one replica."""
    deployment = await start(num_replicas=0, is_ready=False)
    for _ in range(2):
        await deployment.add_worker(reply=None)
    await deployment.until_ready(2)
    calls = [deployment.generate(f"request {number}") for number in range(8)]
    await deployment.until(lambda: sum(len(worker.groups) for worker in deployment.workers) == 8)
    assert [len(worker.groups) for worker in deployment.workers] == [4, 4]
    started = [(await call.read()).started for call in calls]
    assert {event.routing_reason for event in started} >= {"least loaded: 0.00 vs 0.00", "least loaded: 0.00 vs 0.12"}
    for call in calls:
        call.cancel()


async def test_a_refusal_for_credit_is_queued_again(deployment: Deployment) -> None:
    """Only a race of epochs makes one; the client does not see it."""
    (worker,) = deployment.workers
    worker.over_credit_next = 2
    events = await collect(deployment.generate("Hi"))
    assert text_of(events) == "Hello, world"
    assert kinds_of(events) == ["started", "delta", "finished", "final"]
    assert [submit.groups[0].attempt for submit in worker.submits] == [1, 2, 3]
    assert events[-1].final.num_resumed == 0
    await deployment.until_idle()


async def test_more_choices_than_credit_are_sent_in_parts(start: StartDeployment) -> None:
    """A request that could never fit whole would wait for ever."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(num_sequences=2)
    await deployment.until_ready()
    answer = await deployment.complete("Hi", sampling={"n": 5})
    assert [choice.output.text for choice in answer.choices] == ["Hello, world"] * 5
    assert [[choice.index for choice in group.choices] for group in worker.groups] == [[0, 1], [2, 3], [4]]
    await deployment.until_idle()


async def test_critical_requests_go_first(start: StartDeployment) -> None:
    """They came last and leave the queue first."""
    deployment = await one_at_a_time(start)
    (worker,) = deployment.workers
    names = ["blocker", "sheddable", "standard", "critical"]
    levels = [types_pb2.CRITICALITY_STANDARD, *types_pb2.Criticality.values()[1:]]
    answers = []
    for name, level in zip(names, levels, strict=True):
        answers.append(asyncio.ensure_future(deployment.complete(name, criticality=level)))
        await deployment.until(lambda: deployment.gateway.admission.num_requests == len(answers))
    await deployment.until(lambda: deployment.num_queued == 3)
    for done in range(4):
        await worker.until(lambda done=done: len(worker.groups) == done + 1)
        end_running(deployment)
    await asyncio.gather(*answers)
    served = [bytes(group.prompt_token_ids).decode() for group in worker.groups]
    assert served == ["blocker", "critical", "standard", "sheddable"]


async def test_over_the_bound_a_request_is_refused_at_once(start: StartDeployment) -> None:
    """With the bound's name and when to come back; those that are in stay in."""
    deployment = await one_at_a_time(start, max_requests=10, max_requests_per_tenant=10)
    calls = [deployment.generate("Hi") for _ in range(9)]
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 9)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("one too many")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(caught.value)
    assert details["QuotaFailure"].violations[0].subject == "tenant.requests"
    assert 0 < details["RetryInfo"].retry_delay.ToNanoseconds() <= 10e9
    with pytest.raises(grpc.aio.AioRpcError):
        await deployment.complete("sheddable", criticality=types_pb2.CRITICALITY_SHEDDABLE)
    critical = deployment.generate("critical", criticality=types_pb2.CRITICALITY_CRITICAL)
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 10)
    for call in (*calls, critical):
        call.cancel()
    await deployment.until_idle()


async def test_without_a_replica_a_request_is_told_to_come_back(start: StartDeployment) -> None:
    """It waits for one to come, but not for ever."""
    deployment = await start(num_replicas=0, is_ready=False, longest_wait_without_replica_s=0.2)
    await deployment.publish([])
    await deployment.until(lambda: len(deployment.gateway.missing()) == 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("Hi")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(caught.value)["RetryInfo"].retry_delay.ToNanoseconds() == 1e9
    await deployment.until_idle()


async def test_a_client_that_does_not_read_is_ended(start: StartDeployment) -> None:
    """Its memory is bounded, its work stops, and it is told why when it reads at last."""
    deployment = await one_at_a_time(start, client_buffer_bytes=10_000)
    (worker,) = deployment.workers
    call = deployment.generate("Hi")
    await worker.until(lambda: bool(worker.groups))
    for _ in range(500):
        worker.send_output(worker.groups[0], b"x" * 4000)
    await worker.until(lambda: len(worker.cancels) == 1)
    await deployment.until_idle()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(caught.value)["QuotaFailure"].violations[0].subject == "client_buffer_bytes"
