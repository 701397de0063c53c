"""Equal requests at the same time: one generation, as many answers, and each request with an end of its own."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import (
    Deployment,
    StartDeployment,
    collect,
    collect_until_error,
    details_of,
    kinds_of,
    request,
    text_of,
)
from fakes.scripted_cache import ScriptedCache
from fakes.scripted_worker import ScriptedWorker
from fakes.span_collector import span_collector

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.errors import DeadlineExceededError, InternalError, to_proto_error

GREEDY = {"temperature": 0}
JOINED, SKIPPED, MISS = (
    inference_pb2.CACHE_OUTCOME_JOINED,
    inference_pb2.CACHE_OUTCOME_SKIPPED,
    inference_pb2.CACHE_OUTCOME_MISS,
)
STOP = types_pb2.FINISH_REASON_STOP


@pytest.fixture
async def deployment(start: StartDeployment) -> Deployment:
    """One replica that leaves the steps to the test."""
    deployment = await start(num_replicas=0, is_ready=False)
    await deployment.add_worker(reply=None)
    await deployment.until_ready()
    return deployment


@pytest.fixture
async def cache() -> AsyncIterator[ScriptedCache]:
    """A cache service."""
    made = ScriptedCache()
    await made.start()
    yield made
    await made.stop()


def followers(deployment: Deployment) -> int:
    """Requests that share the one generation."""
    return sum(len(generation.followers) for generation in deployment.gateway.flights.generations)


async def begun(deployment: Deployment, **fields: Any) -> tuple[Any, worker_pb2.SequenceGroup]:
    """A greedy stream whose generation is at the worker."""
    (worker,) = deployment.workers
    call = deployment.generate(sampling=GREEDY, **fields)
    await worker.until(lambda: len(worker.groups) == 1)
    return call, worker.groups[0]


async def joined(deployment: Deployment, count: int = 2, **fields: Any) -> Any:
    """The same request once more, which makes it `count` of them."""
    call = deployment.generate(sampling=GREEDY, **fields)
    await deployment.until(lambda: followers(deployment) == count)
    return call


async def cancelled(call: Any) -> None:
    """The client goes away."""
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collect(call)


async def test_equal_requests_at_once_are_generated_once(deployment: Deployment) -> None:
    """A crowd with one question costs one answer, even where all of it comes before the first has its tokens."""
    deployment.tokenizer.gate.clear()
    calls = [asyncio.ensure_future(collect(deployment.generate(sampling=GREEDY))) for _ in range(5)]
    await deployment.until(lambda: deployment.tokenizer.num_calls == 5)
    deployment.tokenizer.gate.set()
    (worker,) = deployment.workers
    await worker.until(lambda: len(worker.groups) == 1)
    await deployment.until(lambda: followers(deployment) == 5)
    worker.send_output(worker.groups[0], b"Paris", end=STOP)
    answers = await asyncio.gather(*calls)
    assert len(worker.groups) == 1
    for events in answers:
        assert kinds_of(events) == ["started", "delta", "finished", "final"]
        assert text_of(events) == "Paris"
        assert events[-1].final.usage == types_pb2.Usage(prompt_tokens=2, completion_tokens=5)
    outcomes = sorted(events[0].started.cache.outcome for events in answers)
    assert outcomes == [SKIPPED, JOINED, JOINED, JOINED, JOINED]
    assert len({events[0].started.request_id for events in answers}) == 5
    assert len({events[0].started.trace_id for events in answers}) == 5
    await deployment.until_idle()


async def test_a_late_one_gets_all_of_it_in_its_own_form(deployment: Deployment) -> None:
    """Unary beside streaming, with token ids beside without; it needs neither tokenizer nor replica."""
    call, group = await begun(deployment)
    (worker,) = deployment.workers
    worker.send_output(group, b"It is ")
    early = [await call.read(), await call.read()]
    late = asyncio.ensure_future(deployment.complete(sampling=GREEDY, return_token_ids=True))
    later = await joined(deployment, 3, return_token_ids=True)
    first = [await later.read(), await later.read()]
    assert (text_of(first), bytes(first[1].delta.token_ids)) == ("It is ", b"It is ")
    worker.send_output(group, b"Paris", end=STOP)
    answer = await late
    assert answer.choices[0].output.text == "It is Paris"
    assert bytes(answer.choices[0].output.token_ids) == b"It is Paris"
    assert answer.started.cache == inference_pb2.CacheReport(
        outcome=JOINED, reason="an equal request was being answered"
    )
    assert (answer.started.replica, answer.started.prompt_tokens) == ("replica-0", 2)
    assert answer.choices[0].finished.reason == STOP
    rest = await collect_rest(call)
    assert text_of(early + rest) == "It is Paris"
    assert not any(event.delta.token_ids for event in early + rest)
    assert text_of(first + await collect_rest(later)) == "It is Paris"
    assert (deployment.tokenizer.num_calls, len(worker.groups)) == (1, 1)
    timings = answer.final.timings
    assert timings.queue.ToNanoseconds() < timings.decode.ToNanoseconds() <= timings.total.ToNanoseconds()
    await deployment.until_idle()


async def collect_rest(call: Any) -> list[inference_pb2.GenerateResponse]:
    """What is left of a stream that was begun with `read`."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


async def test_a_late_one_gets_the_log_probabilities_too(deployment: Deployment) -> None:
    """They are part of the answer, though the cache does not keep them."""
    (worker,) = deployment.workers
    asked = {"sampling": {"temperature": 0, "logprobs": 0}}
    call = deployment.generate(**asked)
    await worker.until(lambda: len(worker.groups) == 1)
    worker.send_output(worker.groups[0], b"ab")
    await call.read()
    await call.read()
    late = asyncio.ensure_future(deployment.complete(**asked))
    await deployment.until(lambda: followers(deployment) == 2)
    worker.send_output(worker.groups[0], b"c", end=STOP)
    output = (await late).choices[0].output
    assert [logprob.token_id for logprob in output.logprobs] == list(b"abc")
    await deployment.until_idle()


async def test_choices_that_have_ended_are_told_to_a_late_one(deployment: Deployment) -> None:
    """One of two is complete when it comes."""
    (worker,) = deployment.workers
    asked = {"sampling": {"seed": 1, "n": 2}}
    deployment.generate(**asked)
    await worker.until(lambda: len(worker.groups) == 1)
    (group,) = worker.groups
    worker.send_output(group, b"one", choice=1, end=STOP)
    await worker.until(lambda: worker.num_running == 1)
    late = asyncio.ensure_future(deployment.complete(**asked))
    await deployment.until(lambda: followers(deployment) == 2)
    worker.send_output(group, b"zero", end=STOP)
    answer = await late
    assert [choice.output.text for choice in answer.choices] == ["zero", "one"]
    assert [choice.finished.choice for choice in answer.choices] == [0, 1]


@pytest.mark.parametrize(
    ("change", "num_generations"),
    [
        ({"text": "Ho"}, 2),
        ({"sampling": {"temperature": 0, "max_tokens": 5}}, 2),
        ({"sampling": {}}, 3),
        ({"cache": inference_pb2.CachePolicy(mode=inference_pb2.CACHE_MODE_BYPASS)}, 3),
        ({"cache": inference_pb2.CachePolicy(mode=inference_pb2.CACHE_MODE_REFRESH)}, 3),
    ],
)
async def test_what_is_not_the_same_or_wants_its_own_is_generated_beside(
    deployment: Deployment, change: dict[str, Any], num_generations: int
) -> None:
    """A plain request, two changed ones, a plain one. What wants its own does not even share with its like."""
    await begun(deployment)
    (worker,) = deployment.workers
    changed = [deployment.generate(**{"sampling": GREEDY} | change) for _ in range(2)]
    await deployment.until(lambda: deployment.gateway.admission.num_requests == 3)
    await worker.until(lambda: len(worker.groups) == num_generations)
    plain = deployment.generate(sampling=GREEDY)
    started = await plain.read()
    assert started.started.cache.outcome == JOINED
    assert len(worker.groups) == num_generations
    del changed


async def test_the_first_may_leave(deployment: Deployment) -> None:
    """Who began it is no more than the others; with the last one the work ends."""
    first, group = await begun(deployment)
    (worker,) = deployment.workers
    second = await joined(deployment)
    worker.send_output(group, b"It is ")
    await cancelled(first)
    worker.send_output(group, b"Paris")
    events: list[inference_pb2.GenerateResponse] = []
    while text_of(events) != "It is Paris":
        events.append(await second.read())
    assert worker.cancels == []
    second.cancel()
    await worker.until(lambda: worker.cancels == [(group.choices[0].sequence_id, 1)])
    await deployment.until_idle()


HOLDS = ("queue", "worker")


@pytest.mark.parametrize("stage", HOLDS)
@pytest.mark.parametrize("end", ["cancel", "deadline"])
async def test_one_that_joined_ends_alone(deployment: Deployment, stage: str, end: str) -> None:
    """Wherever the generation stands: the others notice nothing."""
    (worker,) = deployment.workers
    if stage == "queue":
        await hold_in_queue(deployment)
    first = deployment.generate(sampling=GREEDY)
    await deployment.until(lambda: followers(deployment) == 1)
    if end == "cancel":
        await cancelled(await joined(deployment))
    else:
        events, error = await collect_until_error(await joined(deployment, timeout_s=0.3))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert kinds_of(events) == (["started"] if stage == "worker" else [])
    await deployment.until(lambda: followers(deployment) == 1)
    worker.num_sequences = 8
    worker.send(credit=worker.credit(epoch=3))
    await worker.until(lambda: len(worker.groups) == 1)
    worker.send_output(worker.groups[0], b"Paris", end=STOP)
    assert text_of(await collect(first)) == "Paris"
    assert worker.cancels == []
    await deployment.until_idle()


async def hold_in_queue(deployment: Deployment) -> None:
    """There is no credit."""
    (worker,) = deployment.workers
    worker.num_sequences = 0
    worker.send(credit=worker.credit(epoch=2))
    await deployment.until(lambda: deployment.gateway.dispatcher.links[0].ledger.credit.epoch == 2)


async def test_one_that_is_cancelled_before_it_could_join_leaves_nothing(deployment: Deployment) -> None:
    """It waits for the tokenizer while an equal request begins."""
    deployment.tokenizer.gate.clear()
    first, second = (deployment.generate(sampling=GREEDY) for _ in range(2))
    await deployment.until(lambda: deployment.tokenizer.num_calls == 2)
    await cancelled(second)
    deployment.tokenizer.gate.set()
    (worker,) = deployment.workers
    await worker.until(lambda: len(worker.groups) == 1)
    await deployment.until(lambda: followers(deployment) == 1)
    await cancelled(first)
    await deployment.until_idle()
    assert (len(worker.groups), followers(deployment)) == (1, 0)


async def test_one_that_joined_and_does_not_read_ends_alone(start: StartDeployment) -> None:
    """Its buffer is its own; the others stream on."""
    deployment = await start(num_replicas=0, is_ready=False, client_buffer_bytes=10_000)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    reader, group = await begun(deployment)
    async with grpc.aio.insecure_channel(deployment.gateway.address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        asked = inference_pb2.GenerateRequest(request=request("Hi", sampling=GREEDY))
        slow = inference_pb2_grpc.InferenceServiceStub(channel).Generate(asked, timeout=20)
        await deployment.until(lambda: followers(deployment) == 2)
        started = await reader.read()
        assert started.HasField("started")
        num_sent = 0
        while followers(deployment) == 2:
            worker.send_output(group, b"x" * 4000)
            num_sent += 4000
            while num_sent > 0:
                num_sent -= len((await reader.read()).delta.text)
        worker.send_output(group, b"end", end=STOP)
        rest = await collect_rest(reader)
        assert (text_of(rest), kinds_of(rest)[-1]) == ("end", "final")
        _, error = await collect_until_error(slow)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(error)["QuotaFailure"].violations[0].subject == "client_buffer_bytes"
    await deployment.until_idle()


async def test_a_failure_is_everybodys(deployment: Deployment) -> None:
    """After what came before it, each in its form."""
    first, group = await begun(deployment)
    (worker,) = deployment.workers
    second = await joined(deployment)
    third = asyncio.ensure_future(deployment.complete(sampling=GREEDY))
    await deployment.until(lambda: followers(deployment) == 3)
    worker.send_output(group, b"so far")
    end_with(worker, group, InternalError("sampling failed"))
    for call in (first, second):
        events, error = await collect_until_error(call)
        assert (text_of(events), error.code()) == ("so far", grpc.StatusCode.INTERNAL)
        assert error.details() == "sampling failed"
    with pytest.raises(grpc.aio.AioRpcError, match="sampling failed"):
        await third
    await deployment.until_idle()


def end_with(worker: ScriptedWorker, group: worker_pb2.SequenceGroup, error: Any) -> None:
    """The worker ends a group's only choice with an error."""
    end = worker_pb2.SequenceEnd(reason=types_pb2.FINISH_REASON_ERROR, error=to_proto_error(error))
    output = worker_pb2.SequenceOutput(sequence_id=group.choices[0].sequence_id, attempt=group.attempt, end=end)
    worker.send(step=worker_pb2.Step(outputs=[output]))


async def test_the_worker_is_told_the_highest_criticality_and_the_latest_deadline(deployment: Deployment) -> None:
    """Of those who wait when it is submitted."""
    await hold_in_queue(deployment)
    sheddable, critical = types_pb2.CRITICALITY_SHEDDABLE, types_pb2.CRITICALITY_CRITICAL
    first = deployment.generate(sampling=GREEDY, timeout_s=100, criticality=sheddable)
    await deployment.until(lambda: followers(deployment) == 1)
    second = await joined(deployment, criticality=critical, timeout_s=10)
    third = await joined(deployment, 3, criticality=sheddable, timeout_s=50)
    await cancelled(first)
    await deployment.until(lambda: followers(deployment) == 2)
    (worker,) = deployment.workers
    worker.num_sequences = 1
    worker.send(credit=worker.credit(epoch=3))
    await worker.until(lambda: len(worker.groups) == 1)
    (group,) = worker.groups
    assert group.criticality == critical
    remaining_s = group.deadline.ToNanoseconds() / 1e9 - time.time()
    assert 10 < remaining_s < 51
    for call in (second, third):
        await cancelled(call)
    await deployment.until_idle()


async def test_one_with_more_time_goes_on_past_the_firsts_deadline(deployment: Deployment) -> None:
    """The worker stops at the deadline that it was told; the rest is generated by a new attempt."""
    first, group = await begun(deployment, timeout_s=0.4)
    (worker,) = deployment.workers
    worker.send_output(group, b"It is ")
    second = await joined(deployment)
    _, error = await collect_until_error(first)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    end_with(worker, group, DeadlineExceededError("the deadline passed"))
    await worker.until(lambda: len(worker.groups) == 2)
    again = worker.groups[1]
    assert (again.attempt, bytes(again.choices[0].output_token_ids)) == (2, b"It is ")
    assert again.deadline.ToNanoseconds() > group.deadline.ToNanoseconds()
    worker.send_output(again, b"Paris", end=STOP)
    events = await collect(second)
    assert text_of(events) == "It is Paris"
    assert events[-1].final.num_resumed == 1
    await deployment.until_idle()


@pytest.mark.parametrize("is_first_gone", [False, True])
async def test_a_shared_answer_is_kept_once(start: StartDeployment, cache: ScriptedCache, is_first_gone: bool) -> None:
    """By whoever has all of it first, and also where the one who began it has left."""
    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    first, group = await begun(deployment)
    second, third = await joined(deployment), await joined(deployment, 3)
    if is_first_gone:
        await cancelled(first)
    worker.send_output(group, b"Paris", end=STOP)
    answers = [await collect(call) for call in ([second, third] if is_first_gone else [first, second, third])]
    outcomes = [events[0].started.cache.outcome for events in answers]
    assert outcomes == ([JOINED, JOINED] if is_first_gone else [MISS, JOINED, JOINED])
    await deployment.until_idle()
    other = deployment.generate("other", sampling=GREEDY)
    await worker.until(lambda: len(worker.groups) == 2)
    worker.send_output(worker.groups[1], b"Rome", end=STOP)
    await collect(other)
    await cache.until_kept(2)
    assert [put.answer.choices[0].text for put in cache.puts] == ["Paris", "Rome"]
    assert len(cache.lookups) == 2


async def test_joins_are_counted_and_tokens_only_once(deployment: Deployment) -> None:
    """Operators see what sharing saves; a token that was made once is one token."""
    first, group = await begun(deployment)
    second = await joined(deployment)
    deployment.workers[0].send_output(group, b"Paris", end=STOP)
    await asyncio.gather(collect(first), collect(second))
    await deployment.until_idle()
    rendered = deployment.gateway._metrics.render().decode()
    assert 'penstock_gateway_cache_total{outcome="joined"} 1.0' in rendered
    labels = 'gen_ai_operation_name="text_completion",gen_ai_request_model="pocket"'
    assert f'penstock_gateway_tokens_total{{direction="output",{labels}}} 5.0' in rendered
    assert f'gen_ai_server_request_duration_seconds_count{{error_type="",{labels}}} 2.0' in rendered
    assert f"gen_ai_server_time_per_output_token_seconds_count{{{labels}}} 1.0" in rendered


async def test_the_trace_of_one_that_joined_names_the_request_that_it_joined(start: StartDeployment) -> None:
    """The engine's spans are in that one's trace."""
    with span_collector() as collector:
        deployment = await start(num_replicas=0, is_ready=False, otlp_endpoint=collector.endpoint)
        worker = await deployment.add_worker(reply=None)
        await deployment.until_ready()
        first, group = await begun(deployment)
        second = await joined(deployment)
        worker.send_output(group, b"Paris", end=STOP)
        events, _ = await asyncio.gather(collect(first), collect(second))
        spans = collector.wait_for(lambda found: sum(span.name == "text_completion pocket" for span in found) == 2)
    requests = {span.attributes["penstock.cache.outcome"]: span for span in spans if span.name.startswith("text_")}
    assert requests["joined"].attributes["penstock.joined.request_id"] == events[0].started.request_id
    assert "penstock.joined.request_id" not in requests["skipped"].attributes
    assert requests["joined"].trace_id != requests["skipped"].trace_id


async def ask_and_see(deployment: Deployment, chance: random.Random) -> str:
    """One request, its form and its end drawn by chance. Returns how it ended."""
    text, call_kind = chance.choice("AB"), chance.choice(["stream", "stream", "unary"])
    timeout_s = chance.choice([0.02, 0.1, 20, 20])
    await asyncio.sleep(chance.uniform(0, 0.3))  # requests come when they come
    fields = {"sampling": GREEDY, "return_token_ids": chance.random() < 0.5, "timeout_s": timeout_s}
    work = complete_whole if call_kind == "unary" else stream_whole
    task = asyncio.ensure_future(work(deployment, text, fields))
    if chance.random() < 0.3:
        await asyncio.sleep(chance.uniform(0, 0.1))  # and go when they go
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return "cancelled"
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def stream_whole(deployment: Deployment, text: str, fields: dict[str, Any]) -> str:
    """A stream from its start to its end."""
    events = await collect(deployment.generate(text, **fields))
    assert kinds_of(events) == ["started", "delta", "finished", "final"]
    assert text_of(events) == f"{text} says hello, {text}"
    return "answered"


async def complete_whole(deployment: Deployment, text: str, fields: dict[str, Any]) -> str:
    """The same in one message."""
    answer = await deployment.complete(text, **fields)
    assert answer.choices[0].output.text == f"{text} says hello, {text}"
    return "answered"


async def play(worker: ScriptedWorker, chance: random.Random) -> None:
    """The worker: a few tokens of everything that runs, again and again."""
    num_sent: dict[tuple[int, int], int] = {}
    while True:
        await asyncio.sleep(chance.uniform(0, 0.02))
        for group in worker.groups:
            key = (group.choices[0].sequence_id, group.attempt)
            said = b"%c says hello, %c" % (group.prompt_token_ids[0], group.prompt_token_ids[0])
            position = num_sent.get(key, 0)
            if key in worker._running and position < len(said):
                num_sent[key] = position + 3
                is_last = position + 3 >= len(said)
                worker.send_output(group, said[position : position + 3], end=STOP if is_last else None)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_joins_and_leaves_each_request_has_one_end(deployment: Deployment, seed: int) -> None:
    """Answers are whole, nothing is left behind, and nothing is ever generated twice at the same time."""
    chance = random.Random(seed)
    (worker,) = deployment.workers
    playing = asyncio.ensure_future(play(worker, random.Random(seed)))
    ends = await asyncio.gather(*(ask_and_see(deployment, random.Random(chance.random())) for _ in range(60)))
    await deployment.until_idle()
    playing.cancel()
    assert set(ends) == {"answered", "cancelled", "DEADLINE_EXCEEDED"}
    await worker.until(lambda: worker.num_running == 0)
    assert len(worker.groups) < len(ends) / 2
