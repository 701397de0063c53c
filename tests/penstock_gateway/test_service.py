"""Requests through the whole gateway, against replicas that answer."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from fakes.byte_tokenizer import EOS
from fakes.gateway_deployment import (
    CONTEXT_LENGTH,
    MODEL,
    Deployment,
    StartDeployment,
    collect,
    details_of,
    kinds_of,
    request,
    text_of,
)

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_gateway.capabilities import UNIMPLEMENTED


async def test_a_stream_is_started_deltas_finished_final(deployment: Deployment) -> None:
    """The contract of `Generate`, on one plain request."""
    events = await collect(deployment.generate("Hi", return_token_ids=True, sampling={"seed": 7}))
    assert kinds_of(events) == ["started", "delta", "finished", "final"]
    assert text_of(events) == "Hello, world"
    assert bytes(token for event in events for token in event.delta.token_ids) == b"Hello, world"
    started, final = events[0].started, events[-1].final
    assert (started.model, started.model_revision, started.replica) == (MODEL, "revision-1", "replica-0")
    assert (started.routing_reason, started.prompt_tokens) == ("only replica: 0.00", 2)
    assert (started.cache.outcome, started.cache.reason) == (
        inference_pb2.CACHE_OUTCOME_SKIPPED,
        "no cache is configured",
    )
    assert (started.sampling.seed, started.sampling.temperature, started.sampling.top_p) == (7, 0.7, 0.9)
    assert len(started.trace_id) == 32
    assert events[-2].finished.reason == types_pb2.FINISH_REASON_STOP
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (2, 12)
    assert (final.num_resumed, final.is_exact_continuation) == (0, True)
    await deployment.until_idle()


async def test_complete_gives_the_same_in_one_message(deployment: Deployment) -> None:
    """The unary call is the stream, put together."""
    answer = await deployment.complete("Hi", return_token_ids=True, sampling={"n": 2, "logprobs": 0})
    assert [choice.output.text for choice in answer.choices] == ["Hello, world"] * 2
    assert [choice.output.choice for choice in answer.choices] == [0, 1]
    assert [len(choice.output.logprobs) for choice in answer.choices] == [12, 12]
    assert {choice.finished.reason for choice in answer.choices} == {types_pb2.FINISH_REASON_STOP}
    assert answer.final.usage.completion_tokens == 24
    assert answer.started.replica == "replica-0"


async def test_what_the_request_leaves_open_is_filled_in_and_told(deployment: Deployment) -> None:
    """Defaults are the model's, the seed is drawn, and the output may take what the context leaves."""
    first, second = [(await deployment.complete("Hi")).started.sampling for _ in range(2)]
    assert (first.temperature, first.top_p, first.n, first.max_tokens) == (0.7, 0.9, 1, CONTEXT_LENGTH - 2)
    assert first.seed != second.seed
    sent = deployment.workers[0].groups[0]
    assert sent.sampling == first
    assert bytes(sent.prompt_token_ids) == b"Hi"
    assert (sent.tenant, sent.criticality, sent.attempt) == ("default", types_pb2.CRITICALITY_STANDARD, 1)


async def test_the_choices_of_a_request_share_a_group(deployment: Deployment) -> None:
    """Choices share a prompt, and its cost."""
    events = await collect(deployment.generate(sampling={"n": 2}))
    assert [text_of(events, choice) for choice in (0, 1)] == ["Hello, world"] * 2
    assert sorted(event.finished.choice for event in events if event.HasField("finished")) == [0, 1]
    (group,) = deployment.workers[0].groups
    assert [choice.index for choice in group.choices] == [0, 1]


@pytest.mark.parametrize("stop", ["o, w", "wor", "d"])
async def test_a_stop_string_across_tokens_ends_the_output_before_it(deployment: Deployment, stop: str) -> None:
    """Each token is one byte here; what comes after the stop is neither delivered nor counted, and the worker stops."""
    (worker,) = deployment.workers
    worker.pause_after = len("Hello, world")
    events = await collect(deployment.generate(sampling={"stop": [stop, "never"]}))
    assert text_of(events) == "Hello, world"[: "Hello, world".index(stop)]
    finished, final = events[-2].finished, events[-1].final
    assert (finished.reason, finished.stop_string) == (types_pb2.FINISH_REASON_STOP, stop)
    assert final.usage.completion_tokens == "Hello, world".index(stop) + len(stop)
    await worker.until(lambda: worker.num_running == 0)
    assert len(worker.cancels) == 1
    await deployment.until_idle()


async def test_a_stop_token_is_told_and_is_not_output(start: StartDeployment) -> None:
    """The worker reports the token that ended a sequence beside its output."""
    deployment = await start(num_replicas=0, is_ready=False)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    call = deployment.generate()
    await worker.until(lambda: bool(worker.groups))
    end = worker_pb2.SequenceEnd(reason=types_pb2.FINISH_REASON_STOP, stop_token_id=EOS, cached_prompt_tokens=1)
    output = worker_pb2.SequenceOutput(
        sequence_id=worker.groups[0].choices[0].sequence_id, attempt=1, token_ids=b"ok", end=end
    )
    worker.send(step=worker_pb2.Step(outputs=[output]))
    events = await collect(call)
    assert text_of(events) == "ok"
    assert events[-2].finished.stop_token_id == EOS
    assert (events[-1].final.usage.completion_tokens, events[-1].final.usage.cached_prompt_tokens) == (2, 1)


async def test_characters_are_never_cut(start: StartDeployment) -> None:
    """Every byte is a token here, and no delta may end inside a character."""
    text = "héé 日本 🙂"

    def reply(_group: worker_pb2.SequenceGroup, _choice: worker_pb2.SequenceChoice) -> Sequence[int]:
        return text.encode()

    deployment = await start(num_replicas=0, is_ready=False)
    await deployment.add_worker(reply=reply)
    await deployment.until_ready()
    events = await collect(deployment.generate())
    assert text_of(events) == text
    assert "\N{REPLACEMENT CHARACTER}" not in text_of(events)


async def test_chat_and_token_ids_are_inputs_too(deployment: Deployment) -> None:
    """A conversation goes through the model's template; ids are taken as they are."""
    chat = inference_pb2.Chat(messages=[types_pb2.ChatMessage(role="user", content="Hi")])
    await deployment.complete(input=inference_pb2.Input(chat=chat))
    ids = inference_pb2.TokenIds(ids=[1, 2, 3])
    await deployment.complete(input=inference_pb2.Input(token_ids=ids))
    prompts = [list(group.prompt_token_ids) for group in deployment.workers[0].groups]
    assert prompts == [list(b"user:Hi;assistant:"), [1, 2, 3]]


async def test_adapter_goes_to_the_worker_and_an_unknown_one_is_told_which_there_are(deployment: Deployment) -> None:
    """A typing error must not be answered by the base model."""
    await deployment.complete("Hi", adapter="law")
    assert [group.adapter for group in deployment.workers[0].groups] == ["law"]
    with pytest.raises(grpc.aio.AioRpcError, match="no adapter 'lawyer'; there is: law, poetry"):
        await deployment.complete("Hi", adapter="lawyer")


async def test_models_capabilities_and_token_counts_are_told(deployment: Deployment) -> None:
    """What a client asks before its first request."""
    (model,) = (await deployment.stub.ListModels(inference_pb2.ListModelsRequest())).models
    assert (model.spec.name, model.num_ready_replicas) == (MODEL, 1)
    able = await deployment.stub.GetCapabilities(inference_pb2.GetCapabilitiesRequest())
    assert tuple(able.unimplemented) == UNIMPLEMENTED
    assert (able.max_choices, able.max_output_tokens, able.max_request_duration.seconds) == (16, 4096, 600)
    counted = await deployment.stub.CountTokens(
        inference_pb2.CountTokensRequest(input=inference_pb2.Input(text="four"))
    )
    assert (counted.num_tokens, counted.model) == (4, MODEL)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"sampling": {"temperature": 3.0}}, grpc.StatusCode.INVALID_ARGUMENT, "request.sampling.temperature"),
        ({"text": ""}, grpc.StatusCode.INVALID_ARGUMENT, "request.input.text"),
        ({"text": "x" * CONTEXT_LENGTH}, grpc.StatusCode.INVALID_ARGUMENT, "request.input"),
        ({"model": "nobody"}, grpc.StatusCode.NOT_FOUND, "request.model"),
        ({"adapter": "nobody"}, grpc.StatusCode.NOT_FOUND, "request.adapter"),
        ({"criticality": 9}, grpc.StatusCode.INVALID_ARGUMENT, "request.criticality"),
    ],
)
async def test_a_bad_field_is_named(
    deployment: Deployment, fields: dict[str, object], code: grpc.StatusCode, field: str
) -> None:
    """The caller mends what is named, without reading our code; nothing stays behind."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(deployment.generate(**{"text": "Hi", **fields}))
    assert caught.value.code() is code
    assert details_of(caught.value)["BadRequest"].field_violations[0].field == field
    await deployment.until_idle()


async def test_a_prompt_over_the_context_is_told_both_numbers(deployment: Deployment) -> None:
    """The length is known only after tokenizing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete("x" * 2000)
    assert "2000 tokens" in str(caught.value.details())
    assert str(CONTEXT_LENGTH) in str(caught.value.details())


async def test_a_field_without_a_mechanism_is_refused_by_name(deployment: Deployment) -> None:
    """Never silence: the client would believe that it was acted upon."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete(echo=True)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert str(caught.value.details()).startswith("echo ")
    assert "echo" in UNIMPLEMENTED


async def test_rpcs_without_a_mechanism_are_refused_by_name(deployment: Deployment) -> None:
    """The same for `Resume`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(deployment.stub.Resume(inference_pb2.ResumeRequest(request=request("Hi"))))
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Resume is not available in this version",
    )


async def test_prompt_log_probabilities_come_once_whatever_the_number_of_choices(deployment: Deployment) -> None:
    """Choices share the prompt; the first of them is asked to score it."""
    asked = {"sampling": {"n": 2, "prompt_logprobs": 3}}
    events = await collect(deployment.generate("Hello", **asked))
    assert kinds_of(events)[:3] == ["started", "prompt_logprobs", "delta"]
    scores = [token for event in events for token in event.prompt_logprobs.tokens]
    assert bytes(token.token_id for token in scores) == b"ello"
    choices = deployment.workers[0].groups[0].choices
    assert [choice.HasField("prompt_logprob_offset") for choice in choices] == [True, False]
    whole = await deployment.complete("Hello", **asked)
    assert list(whole.prompt_logprobs.tokens) == scores
    await deployment.until_idle()


async def test_a_bypassed_cache_is_told_so(deployment: Deployment) -> None:
    """The report distinguishes what the client wished from what we have."""
    policy = inference_pb2.CachePolicy(mode=inference_pb2.CACHE_MODE_BYPASS)
    answer = await deployment.complete(cache=policy)
    assert answer.started.cache.outcome == inference_pb2.CACHE_OUTCOME_BYPASSED


async def test_timings_add_up(deployment: Deployment) -> None:
    """The phases follow each other, so their sum is at most the total."""
    final = (await collect(deployment.generate()))[-1].final
    timings = final.timings
    phases = [timings.admit, timings.tokenize, timings.queue, timings.prefill, timings.decode]
    total_ns = timings.total.ToNanoseconds()
    assert 0 < sum(phase.ToNanoseconds() for phase in phases) <= total_ns
    assert all(phase.ToNanoseconds() > 0 for phase in phases[1:])
    assert 0 < timings.time_to_first_token.ToNanoseconds() <= total_ns
    unary = (await deployment.complete()).final.timings
    assert not unary.HasField("time_to_first_token")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"criticality": 9},
            "request.criticality: got 9; allowed: 1 (SHEDDABLE), 2 (STANDARD), 3 (CRITICAL)",
        ),
        (
            {"cache": inference_pb2.CachePolicy(mode=9)},  # type: ignore[arg-type]  # proto3 enums are open
            "request.cache.mode: got 9; allowed: 1 (USE), 2 (BYPASS), 3 (REFRESH)",
        ),
    ],
)
async def test_an_enum_value_of_no_name_is_told_with_those_there_are(
    deployment: Deployment, fields: dict[str, Any], line: str
) -> None:
    """A newer client would otherwise get the default without a word."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await deployment.complete(**fields)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == line
