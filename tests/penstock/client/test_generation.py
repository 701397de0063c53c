"""Both clients against a scripted server over real gRPC."""

import asyncio
import time
from dataclasses import asdict
from typing import Any

import grpc
import pytest
from fakes.inference_server import (
    TRACE_ID,
    Hold,
    ScriptedInference,
    Status,
    delta,
    final,
    finished,
    paris,
    pocket_model,
    prompt_logprobs,
    started,
)

import penstock
from penstock import AsyncClient, Client
from penstock.client import (
    CacheOutcome,
    Delta,
    Embeddings,
    Final,
    Finished,
    FinishReason,
    InternalError,
    RequestCancelledError,
    Started,
    TopLogprob,
    Usage,
)
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared import errors as server_errors

GONE_WITHIN_S = 10.0


async def test_generate_returns_the_whole_answer(driver: Any) -> None:
    """What a user prints first is all there, with types and seconds."""
    answer = await driver.call("generate", "What is the capital of France?")
    assert (answer.text, answer.token_ids, answer.finish_reason) == ("Paris.", (11, 12), FinishReason.STOP)
    assert answer.usage == Usage(prompt_tokens=8, completion_tokens=2, cached_prompt_tokens=4)
    assert (answer.timings.total_s, answer.timings.queue_s, answer.timings.decode_s) == (0.012, 0.00025, None)
    assert (answer.replica, answer.routing_reason) == ("pocket-0", "least loaded")
    assert (answer.cache.outcome, answer.cache.score) == (CacheOutcome.SKIPPED, None)
    assert (answer.trace_id, answer.request_id) == (TRACE_ID, "req-1")
    assert (answer.sampling.seed, answer.sampling.logprobs) == (7, None)
    assert answer.choices[0].stop_token_id == 2


async def test_stream_gives_typed_events_in_order(driver: Any) -> None:
    """The stream's shape is the contract's: started, deltas, finished, final."""
    events = await driver.events("What is the capital of France?")
    assert [type(event) for event in events] == [Started, Delta, Delta, Finished, Final]
    assert events[1] == Delta(0, "Par", (11,))


async def test_text_of_a_stream_is_the_first_choice_alone(server: ScriptedInference, driver: Any) -> None:
    """Printing a stream's text must not interleave two choices."""
    other = [delta("Lyon", 9, choice=1), finished(choice=1)]
    server.script = [started(), delta("Par", 11), *other, delta("is.", 12), finished(), final()]
    assert await driver.text("go", n=2) == ["Par", "is."]


async def test_streamed_and_unary_answer_are_equal(driver: Any) -> None:
    """One conversion serves both, so a caller can change its mind."""
    assert await driver.stream_answer("go") == await driver.call("generate", "go")


async def test_prompt_log_probabilities_add_up_over_the_events(server: ScriptedInference, driver: Any) -> None:
    """A long prompt brings them in several events."""
    server.script = [started(), prompt_logprobs(5, 6), prompt_logprobs(7), delta("a", 1), finished(), final()]
    for answer in (await driver.call("generate", "go", prompt_logprobs=1), await driver.stream_answer("go")):
        assert [token.token_id for token in answer.prompt_logprobs] == [5, 6, 7]
        assert answer.prompt_logprobs[0].top == (TopLogprob(9, -0.25),)


async def test_embed_gives_a_vector_for_each_input(server: ScriptedInference, driver: Any) -> None:
    """Texts and token ids mixed; the options reach the server."""
    made = await driver.call("embed", ["abc", [1, 2]], model="pocket", pooling="mean", normalize=True)
    assert made == Embeddings(((3.0, 0.5), (2.0, 0.5)), Usage(5, 0, 0))
    (seen,) = server.calls("Embed")
    assert (seen.request.model, seen.request.pooling, seen.request.normalize) == (
        "pocket",
        inference_pb2.POOLING_MEAN,
        True,
    )
    await driver.call("embed", ["abc"])
    assert server.calls("Embed")[1].request == inference_pb2.EmbedRequest(inputs=[inference_pb2.Input(text="abc")])
    with pytest.raises(TypeError, match="a list of inputs"):
        await driver.call("embed", "abc")


async def test_choices_are_kept_apart(server: ScriptedInference, driver: Any) -> None:
    """With n > 1 the deltas of the choices come interleaved."""
    server.script = [
        started(),
        delta("b", 2, choice=1),
        delta("a", 1),
        delta("B", 4, choice=1),
        finished(types_pb2.FINISH_REASON_LENGTH, choice=1),
        finished(stop_string="\n"),
        final(),
    ]
    answer = await driver.stream_answer("go", n=2)
    assert [(c.index, c.text, c.token_ids, c.finish_reason) for c in answer.choices] == [
        (0, "a", (1,), "stop"),
        (1, "bB", (2, 4), "length"),
    ]
    assert answer.choices[0].stop_string == "\n"


async def test_unknown_event_of_a_newer_server_is_passed_over(server: ScriptedInference, driver: Any) -> None:
    """The contract only grows; an old client must not stumble over what is new."""
    server.script = [inference_pb2.GenerateResponse(), *paris()]
    assert (await driver.stream_answer("go")).text == "Paris."


@pytest.mark.parametrize("missing", ["started", "final", "every choice"])
async def test_answer_without_all_of_its_events_is_an_error(
    server: ScriptedInference, driver: Any, missing: str
) -> None:
    """Half an answer must never pass for a whole one."""
    whole = paris()
    server.script = {"started": whole[1:], "final": whole[:-1], "every choice": [whole[0], whole[-1]]}[missing]
    with pytest.raises(InternalError, match="without all of its events"):
        await driver.stream_answer("go")


async def test_every_timing_is_its_own_phase(server: ScriptedInference, driver: Any) -> None:
    """Whoever looks for a slow phase must not be sent to another."""
    last = final()
    names = types_pb2.Timings.DESCRIPTOR.fields_by_name
    for milliseconds, name in enumerate(names, start=1):
        getattr(last.final.timings, name).FromMilliseconds(milliseconds)
    server.script = [started(), delta("a", 1), finished(), last]
    timings = (await driver.stream_answer("go")).timings
    assert asdict(timings) == {f"{name}_s": pytest.approx(number / 1e3) for number, name in enumerate(names, start=1)}


@pytest.mark.parametrize("how", ["close", "with", "drop", "close the client"])
async def test_leaving_a_stream_early_cancels_it_at_the_server(
    server: ScriptedInference, driver: Any, how: str
) -> None:
    """A reader that goes away must not leave a ghost generation behind."""
    server.script = [started(), Hold()]
    await driver.leave_early(how)
    assert await asyncio.to_thread(server.is_gone.wait, GONE_WITHIN_S)


async def test_reading_a_closed_stream_is_a_cancelled_request(server: ScriptedInference, driver: Any) -> None:
    """It must not look like the cancellation of the reader's own task."""
    server.script = [started(), Hold()]
    with pytest.raises(RequestCancelledError):
        await driver.read_after_close()


async def test_cancelling_the_reading_task_cancels_the_generation(server: ScriptedInference) -> None:
    """asyncio.timeout and TaskGroup work as everywhere else."""
    server.script = [started(), Hold()]
    async with AsyncClient(server.address) as client:
        task = asyncio.create_task(client.stream("go").answer())
        assert await asyncio.to_thread(server.is_holding.wait, GONE_WITHIN_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.is_gone.wait, GONE_WITHIN_S)


@pytest.mark.parametrize("method", ["call", "stream_answer"])
async def test_deadline_ends_the_call_and_reaches_the_server(
    server: ScriptedInference, driver: Any, method: str
) -> None:
    """The server must know how long the client waits, or it works for nobody."""
    server.script = [started(), Hold()]
    arguments = ("generate", "go") if method == "call" else ("go",)
    with pytest.raises(penstock.DeadlineExceededError) as caught:
        await getattr(driver, method)(*arguments, timeout_s=0.5)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < (server.seen[0].time_remaining_s or 0) < 0.6  # gRPC rounds it up
    assert await asyncio.to_thread(server.is_gone.wait, GONE_WITHIN_S)


async def test_client_wide_deadline_holds_where_a_call_names_none(server: ScriptedInference, driver_class: Any) -> None:
    """Every call has a deadline, even where nobody thought of it."""
    driver = driver_class(server.address, timeout_s=20.0)
    await driver.call("generate", "go")
    await driver.call("generate", "go", timeout_s=float("inf"))
    await driver.close()
    assert 0 < (server.seen[0].time_remaining_s or 0) < 21  # gRPC rounds it up
    assert (server.seen[1].time_remaining_s or 0) > 1e9


@pytest.mark.parametrize("method", ["call", "stream_answer"])
@pytest.mark.parametrize(
    ("raised", "expected", "field", "retry_after_s"),
    [
        (server_errors.InvalidArgumentError("temperature", 9, "0 to 2"), "InvalidArgumentError", "temperature", None),
        (server_errors.NotFoundError("model", "nope"), "NotFoundError", "model", None),
        (server_errors.UnauthenticatedError("no key"), "UnauthenticatedError", None, None),
        (
            server_errors.ResourceExhaustedError("queue is full", quota="requests", retry_after_s=1.5),
            "ResourceExhaustedError",
            None,
            1.5,
        ),
        (server_errors.FailedPreconditionError("token expired"), "FailedPreconditionError", None, None),
        (server_errors.UnimplementedError("constraint"), "UnimplementedError", None, None),
        (server_errors.DeadlineExceededError("too late"), "DeadlineExceededError", None, None),
        (server_errors.RequestCancelledError("drained"), "RequestCancelledError", None, None),
        (server_errors.InternalError("internal error"), "InternalError", None, None),
        (server_errors.UnavailableError("no replica", retry_after_s=0.25), "UnavailableError", None, 0.25),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_error_of_the_server_arrives_with_its_details(
    *,
    server: ScriptedInference,
    driver: Any,
    method: str,
    raised: server_errors.PenstockError,
    expected: str,
    field: str | None,
    retry_after_s: float | None,
) -> None:
    """A caller can act on the class, the field and the time to come back, without parsing text."""
    server.script = [raised]
    arguments = ("generate", "go") if method == "call" else ("go",)
    with pytest.raises(penstock.PenstockError) as caught:
        await getattr(driver, method)(*arguments)
    error = caught.value
    assert type(error) is getattr(penstock, expected)
    assert (error.code, error.message, error.reason) == (raised.code, raised.message, raised.reason)
    assert (error.field, error.retry_after_s) == (field, retry_after_s)


async def test_code_without_a_class_of_its_own_is_the_base_error(server: ScriptedInference, driver: Any) -> None:
    """`except PenstockError` catches whatever a proxy on the way may invent."""
    server.script = [Status(grpc.StatusCode.DATA_LOSS, "bits fell out")]
    with pytest.raises(penstock.PenstockError) as caught:
        await driver.call("generate", "go")
    assert (type(caught.value), str(caught.value)) == (penstock.PenstockError, "DATA_LOSS: bits fell out")
    assert caught.value.reason is None


async def test_error_in_mid_stream_comes_after_the_events_before_it(server: ScriptedInference) -> None:
    """What was generated is not lost by a failure that follows."""
    server.script = [started(), delta("Par", 11), server_errors.InternalError("internal error")]
    with Client(server.address) as client, client.stream("go") as stream:
        assert [type(next(stream)), next(stream)] == [Started, Delta(0, "Par", (11,))]
        with pytest.raises(InternalError):
            next(stream)


async def test_unavailable_before_any_event_is_retried(server: ScriptedInference, driver: Any) -> None:
    """A restarting gateway is not the caller's problem as long as nothing has begun."""
    server.failures_first = [server_errors.UnavailableError("starting")]
    assert (await driver.stream_answer("go")).text == "Paris."
    assert len(server.seen) == 2


async def test_a_call_that_meets_a_stopping_gateway_is_retried(server: ScriptedInference, driver: Any) -> None:
    """With gRPC, whoever calls in that moment is told CANCELLED, as if it had hung up itself."""
    server.failures_first = [Status(grpc.StatusCode.CANCELLED, "CANCELLED")]
    assert (await driver.stream_answer("go")).text == "Paris."
    assert len(server.seen) == 2


async def test_unavailable_after_an_event_is_not_retried(server: ScriptedInference, driver: Any) -> None:
    """A generation that has begun must not be run twice behind the caller's back."""
    server.script = [started(), server_errors.UnavailableError("replica lost")]
    with pytest.raises(penstock.UnavailableError):
        await driver.stream_answer("go")
    assert len(server.seen) == 1


async def test_nothing_listening_is_unavailable_without_a_server_reason(driver_class: Any, closed_port: int) -> None:
    """A caller can tell "no gateway there" from "the gateway has no replica"."""
    driver = driver_class(f"127.0.0.1:{closed_port}")
    begin = time.monotonic()
    with pytest.raises(penstock.UnavailableError) as caught:
        await driver.call("generate", "go")
    await driver.close()
    assert caught.value.reason is None
    assert time.monotonic() - begin < 10


async def test_count_tokens_models_and_capabilities(server: ScriptedInference, driver: Any) -> None:
    """What is served and allowed can be asked before spending anything."""
    server.models = [pocket_model()]
    count = await driver.call("count_tokens", "one two three", model="pocket")
    assert (count.num_tokens, count.model) == (3, "pocket")
    (model,) = await driver.call("list_models")
    assert (model.name, model.context_length, model.has_chat_template) == ("pocket", 512, True)
    assert (model.num_ready_replicas, model.create_time) == (2, None)
    capabilities = await driver.call("capabilities")
    assert (capabilities.unimplemented, capabilities.max_request_duration_s) == (frozenset({"Resume"}), 1.5)


async def test_given_traceparent_reaches_the_server(server: ScriptedInference, driver: Any) -> None:
    """A caller with a trace of its own sees ours inside it."""
    traceparent = f"00-{TRACE_ID}-b7ad6b7169203331-01"
    await driver.call("generate", "go", traceparent=traceparent)
    await driver.stream_answer("go", traceparent=traceparent)
    assert [seen.metadata.get("traceparent") for seen in server.seen] == [traceparent, traceparent]
