"""Replicas die, stall and drain; the client sees one stream, with no token lost and none twice."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, text_of
from fakes.scripted_worker import ScriptedWorker

from penstock.inference.v1 import inference_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.directory import ReplicaState

TEXT = "The quick brown fox jumps over the lazy dog"


def say_text(group: worker_pb2.SequenceGroup, choice: worker_pb2.SequenceChoice) -> Sequence[int]:
    """Each choice says the text, and its number at the end."""
    return f"{TEXT} {choice.index}".encode()


async def pausing_pair(start: StartDeployment, **options: object) -> Deployment:
    """Two replicas that say the text but for its last part."""
    deployment = await start(num_replicas=0, is_ready=False)
    for _ in range(2):
        worker = await deployment.add_worker(reply=say_text, **options)
        worker.pause_after = 10
    await deployment.until_ready(2)
    return deployment


def by_work(deployment: Deployment) -> tuple[ScriptedWorker, ScriptedWorker]:
    """The replica that has the work, and the other."""
    first, second = deployment.workers
    return (first, second) if first.groups else (second, first)


async def read_until(call: object, text: str) -> list[inference_pb2.GenerateResponse]:
    """Events up to the one that makes the output of choice 0 end with `text`."""
    events: list[inference_pb2.GenerateResponse] = []
    while not text_of(events).endswith(text):
        events.append(await call.read())  # type: ignore[attr-defined]
    return events


async def read_rest(call: object) -> list[inference_pb2.GenerateResponse]:
    """The events that are left."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
        events.append(event)
    return events


@pytest.mark.parametrize("failure", ["stream breaks", "step stalls", "heartbeats stop"])
async def test_a_stream_goes_on_where_its_replica_left_it(start: StartDeployment, failure: str) -> None:
    """Prompt and output so far are submitted again elsewhere, as a new attempt of the same sequence."""
    deployment = await pausing_pair(start)
    asked = {"seed": 1, "logprobs": 0, "prompt_logprobs": 0}
    call = deployment.generate("Hi there", return_token_ids=True, sampling=asked)
    events = await read_until(call, TEXT[:10])
    dying, other = by_work(deployment)
    other.pause_after = None
    if failure == "stream breaks":
        dying.break_sessions()
    elif failure == "step stalls":
        dying.step_age_s = 3.5
    else:
        dying.is_beating = False
    events += await read_rest(call)
    assert text_of(events) == f"{TEXT} 0"
    assert bytes(token for event in events for token in event.delta.token_ids) == f"{TEXT} 0".encode()
    assert sum(len(event.delta.logprobs) for event in events) == len(f"{TEXT} 0")
    assert bytes(token.token_id for event in events for token in event.prompt_logprobs.tokens) == b"i there"
    final = events[-1].final
    assert (final.num_resumed, final.is_exact_continuation) == (1, True)
    assert final.usage.completion_tokens == len(f"{TEXT} 0")
    (first,), (second,) = dying.groups, other.groups
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.sampling == first.sampling
    assert bytes(second.choices[0].output_token_ids) == TEXT[:10].encode()
    assert second.choices[0].sequence_id == first.choices[0].sequence_id
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 0)


async def test_all_choices_move_and_finished_ones_do_not(start: StartDeployment) -> None:
    """A choice that has ended is not generated again."""
    deployment = await start(num_replicas=0, is_ready=False)
    for _ in range(2):
        await deployment.add_worker(reply=None)
    await deployment.until_ready(2)
    call = deployment.generate("Hi", sampling={"n": 3, "stop": ["!"]})
    await deployment.until(lambda: any(worker.groups for worker in deployment.workers))
    dying, other = by_work(deployment)
    other.reply = say_text
    dying.send_output(dying.groups[0], b"done!", choice=1)
    dying.send_output(dying.groups[0], b"The ", choice=0)
    events = await read_until(call, "The ")
    dying.break_sessions()
    events += await read_rest(call)
    assert [text_of(events, choice) for choice in range(3)] == [f"{TEXT} 0", "done", f"{TEXT} 2"]
    assert [choice.index for choice in other.groups[0].choices] == [0, 2]


async def test_unequal_numerics_are_told(start: StartDeployment) -> None:
    """The continuation may then differ from what one replica would have said."""
    deployment = await start(num_replicas=0, is_ready=False)
    for numerics in ("fp32", "bf16"):
        worker = await deployment.add_worker(reply=say_text, numerics=numerics)
        worker.pause_after = 10
    await deployment.until_ready(2)
    call = deployment.generate("Hi")
    events = await read_until(call, TEXT[:10])
    dying, other = by_work(deployment)
    other.pause_after = None
    dying.break_sessions()
    events += await read_rest(call)
    assert (events[-1].final.num_resumed, events[-1].final.is_exact_continuation) == (1, False)


async def test_a_request_present_at_two_deaths_does_not_get_a_third_replica(start: StartDeployment) -> None:
    """A request that kills what it runs on must not take the fleet with it."""
    deployment = await start(num_replicas=0, is_ready=False)
    for _ in range(3):
        await deployment.add_worker(reply=None)
    await deployment.until_ready(3)
    reading = asyncio.ensure_future(collect(deployment.generate("Hi")))
    for deaths in range(2):
        await deployment.until(lambda deaths=deaths: sum(len(each.groups) for each in deployment.workers) == deaths + 1)
        (holder,) = [worker for worker in deployment.workers if worker.num_running]
        holder.break_sessions()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reading
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert sum(len(worker.groups) for worker in deployment.workers) == 2
    await deployment.until_idle()


async def test_a_draining_replica_finishes_its_work_and_gets_no_more(start: StartDeployment) -> None:
    """Drain is make-before-break; so far the work that is there stays."""
    deployment = await start(num_replicas=0, is_ready=False)
    for _ in range(2):
        await deployment.add_worker(reply=None)
    await deployment.until_ready(2)
    call = deployment.generate("Hi")
    await deployment.until(lambda: any(worker.groups for worker in deployment.workers))
    draining, other = by_work(deployment)
    draining.send(draining=worker_pb2.Draining())
    await deployment.until(lambda: deployment.gateway.dispatcher.num_ready("pocket") == 1)
    other.reply = say_text
    answers = [await deployment.complete("Hi") for _ in range(3)]
    assert {answer.started.replica for answer in answers} == {other.replica_id}
    assert answers[0].started.routing_reason == "only replica: 0.00"
    draining.send_output(draining.groups[0], b"ok", end=1)
    assert text_of(await collect(call)) == "ok"


async def test_a_restarted_replica_is_used_again(deployment: Deployment) -> None:
    """The new incarnation comes through the directory, with a new address."""
    (old,) = deployment.workers
    await old.stop()
    await deployment.publish([replace(old.info, state=ReplicaState.RESTARTING)])
    await deployment.until(lambda: not deployment.gateway.dispatcher.links)
    waiting = asyncio.ensure_future(deployment.complete("Hi"))
    deployment.workers.clear()
    await deployment.add_worker(replica_id="replica-0", incarnation=2)
    assert (await waiting).choices[0].output.text == "Hello, world"


async def test_a_lost_connection_is_opened_again(deployment: Deployment) -> None:
    """The replica lives; only the stream broke. It gets work again once a heartbeat shows that it is well."""
    (worker,) = deployment.workers
    worker.break_sessions()
    await deployment.until(lambda: not deployment.gateway.dispatcher.links)
    assert (await deployment.complete("Hi")).choices[0].output.text == "Hello, world"


async def test_a_stalled_replica_gets_no_work_while_it_is_stalled(start: StartDeployment) -> None:
    """A wedged engine behind a healthy gRPC server says hello again and again."""
    deployment = await pausing_pair(start)
    stalled, other = deployment.workers
    stalled.step_age_s = 10.0
    await deployment.until(lambda: deployment.gateway.dispatcher.num_ready("pocket") == 1)
    num_hellos = stalled.num_hellos
    await stalled.until(lambda: stalled.num_hellos > num_hellos)
    other.pause_after = None
    answers = await asyncio.gather(*(deployment.complete("Hi") for _ in range(4)))
    assert {answer.started.replica for answer in answers} == {other.replica_id}
    stalled.step_age_s = None
    await deployment.until_ready(2)


async def test_a_gap_in_the_sequence_numbers_ends_the_session(start: StartDeployment) -> None:
    """A lost message would be lost tokens: the output is generated again from what is certain."""
    deployment = await pausing_pair(start)
    call = deployment.generate("Hi")
    events = await read_until(call, TEXT[:10])
    dying, other = by_work(deployment)
    other.pause_after = None
    dying.skip_seq = 1
    dying.send_output(dying.groups[0], b"wrong")
    events += await read_rest(call)
    assert text_of(events) == f"{TEXT} 0"


@pytest.mark.parametrize("wrong", [{"tokenizer_fingerprint": "other"}, {"incarnation": 7}])
async def test_a_replica_that_is_not_the_one_meant_is_refused(deployment: Deployment, wrong: dict[str, object]) -> None:
    """Another tokenizer would read gibberish; another incarnation is not what the directory promised."""
    worker = ScriptedWorker(
        "replica-1", **{"model": "pocket", "tokenizer_fingerprint": "byte-tokenizer", "incarnation": 1, **wrong}
    )
    await worker.start()
    deployment.workers.append(worker)
    await deployment.publish([deployment.workers[0].info, replace(worker.info, incarnation=1)])
    await worker.until(lambda: worker.num_hellos >= 2)
    assert [link.replica_id for link in deployment.gateway.dispatcher.links] == ["replica-0"]
