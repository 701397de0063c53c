"""What callers get wrong, sent to the running stack: one clear error each, and nobody else notices."""

from collections.abc import Iterator

import grpc
import pytest
from stack.bad_requests import SAMPLING_CASES, BadRequest, bad_requests
from stack.running import RunningStack
from stack.traffic import (
    bystander,
    cpu_s,
    error_of,
    fields_of,
    forget_peak_memory,
    memory_bytes,
    peak_memory_bytes,
    stub_of,
    wait_until_idle,
    what_is_left,
)

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2

_TIMEOUT_S = 60
_ALL = list(bad_requests())
_YEARS_S = 20 * 365 * 24 * 60 * 60
# What a run of all cases may leave in the gateway: allocators keep some of what large messages took.
_MEMORY_SLACK_BYTES = 64 << 20
_PEAK_SLACK_BYTES = 200 << 20


@pytest.fixture(scope="module")
def stub(stack: RunningStack) -> Iterator[inference_pb2_grpc.InferenceServiceStub]:
    """A client without scruples."""
    with stub_of(stack) as made:
        yield made


@pytest.mark.parametrize("case", _ALL, ids=[case.name for case in _ALL])
def test_bad_request_is_one_clear_error(stub: inference_pb2_grpc.InferenceServiceStub, case: BadRequest) -> None:
    """It names field, value and bound, so that the caller can mend it; a stream says it before any event."""
    complete = inference_pb2.CompleteRequest(request=case.request)
    generate = inference_pb2.GenerateRequest(request=case.request)
    for call in (
        lambda: stub.Complete(complete, timeout=_TIMEOUT_S),
        lambda: list(stub.Generate(generate, timeout=_TIMEOUT_S)),
    ):
        error = error_of(call)
        assert error.code() is case.code, error.details()
        assert [word for word in case.words if word not in error.details()] == [], error.details()
        assert len(error.details()) < 500, "a large value must not come back in its own error"
        assert fields_of(error) == ([] if case.field is None else [case.field])


def test_every_sampling_field_has_a_case() -> None:
    """A new field must not come without one."""
    assert SAMPLING_CASES.keys() == {field.name for field in types_pb2.SamplingParams.DESCRIPTOR.fields}


@pytest.mark.parametrize("num_bytes", [17 << 20, 100 << 20])
def test_message_over_the_transports_bound_is_refused(
    stub: inference_pb2_grpc.InferenceServiceStub, num_bytes: int
) -> None:
    """It is cut where it arrives; the error is the transport's own, with both sizes."""
    request = inference_pb2.CompleteRequest(request={"input": {"text": "x" * num_bytes}})
    error = error_of(lambda: stub.Complete(request, timeout=_TIMEOUT_S))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"({request.ByteSize()} vs. {16 << 20})" in error.details()


def test_seven_million_empty_messages_are_refused_unmade(stack: RunningStack) -> None:
    """14 MB on the wire would be 750 MB in memory, and half a second in which the gateway does nothing else."""
    chat = b"\x0a\x00" * 7_000_000
    body = _part(1, _part(2, _part(3, chat)))  # request.input.chat
    assert _part(1, _part(2, _part(3, b"\x0a\x00"))) == _chat_of(1).SerializeToString()
    forget_peak_memory(stack, "gateway")
    with grpc.insecure_channel(stack.gateway_address) as channel:
        call = channel.unary_unary("/penstock.inference.v1.InferenceService/Complete")
        error = error_of(lambda: call(body, timeout=_TIMEOUT_S))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "got 'more than 100000 fields'; allowed: at most 100000 fields in one message" in error.details()
    assert peak_memory_bytes(stack, "gateway") < memory_bytes(stack, "gateway") + _PEAK_SLACK_BYTES


@pytest.mark.parametrize("kind", ["json_schema", "regex", "grammar"])
def test_constraint_of_any_size_is_refused_cheaply(
    stack: RunningStack, stub: inference_pb2_grpc.InferenceServiceStub, kind: str
) -> None:
    """Its size is looked at before anything else."""
    request = inference_pb2.CompleteRequest(request={"input": {"text": "Hi"}, "constraint": {kind: "(" * (15 << 20)}})
    before_s = cpu_s(stack, "gateway")
    assert error_of(lambda: stub.Complete(request, timeout=_TIMEOUT_S)).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert cpu_s(stack, "gateway") - before_s < 1.0


@pytest.mark.parametrize("body", [b"\x0a\x05\x12\x03\x0a\x01\xff", b"\xff" * 100, b"\x0a\x7f"])
def test_bytes_that_are_no_request_are_an_invalid_argument(stack: RunningStack, body: bytes) -> None:
    """Invalid UTF-8, nonsense, half a message: the caller's mistake, and never UNKNOWN."""
    with grpc.insecure_channel(stack.gateway_address) as channel:
        call = channel.unary_unary("/penstock.inference.v1.InferenceService/Complete")
        error = error_of(lambda: call(body, timeout=_TIMEOUT_S))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()


def test_metadata_over_the_bound_is_refused(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    """20 kB of headers end their call alone."""
    request = inference_pb2.ListModelsRequest()
    error = error_of(lambda: stub.ListModels(request, timeout=_TIMEOUT_S, metadata=(("x-note", "x" * 20_000),)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()
    assert stub.ListModels(request, timeout=_TIMEOUT_S).models


def test_ten_thousand_calls_on_one_connection_are_all_answered(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    """With an answer, or with the word that there are too many: none hangs, none breaks the connection."""
    request = inference_pb2.ListModelsRequest()
    calls = [stub.ListModels.future(request, timeout=5 * _TIMEOUT_S) for _ in range(10_000)]
    codes = {call.code() for call in calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert stub.ListModels(request, timeout=_TIMEOUT_S).models


@pytest.mark.parametrize("timeout_s", [0.0, 1e-9, 0.001])
def test_deadline_that_has_passed_is_deadline_exceeded(
    stack: RunningStack, stub: inference_pb2_grpc.InferenceServiceStub, timeout_s: float
) -> None:
    """Whether it passes at the client or here, nothing goes on."""
    error = error_of(lambda: stub.Complete(_question(max_tokens=500), timeout=timeout_s))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until_idle(stack)


def test_deadline_of_years_is_the_services_own(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    """No overflow, and no request that stays for ever."""
    answer = stub.Complete(_question(max_tokens=3), timeout=_YEARS_S)
    assert answer.final.usage.completion_tokens == 3


def test_as_much_as_is_allowed_is_accepted_and_leaves_nothing(
    stack: RunningStack, stub: inference_pb2_grpc.InferenceServiceStub
) -> None:
    """16 choices of all that the context leaves: allowed, and gone when its client goes."""
    sampling = {"n": 16, "max_tokens": 4096, "ignore_eos": True, "temperature": 2, "logprobs": 20}
    sampling |= {"stop": ["\x01" * 256] * 16, "logit_bias": dict.fromkeys(range(1024), -100.0)}
    request = inference_pb2.GenerationRequest(input={"text": "Once"}, sampling=sampling)
    stream = stub.Generate(inference_pb2.GenerateRequest(request=request), timeout=_TIMEOUT_S)
    started = next(iter(stream)).started
    assert (started.sampling.n, started.sampling.max_tokens) == (16, 1024 - started.prompt_tokens)
    assert next(iter(stream)).delta.logprobs
    assert what_is_left(stack)["penstock_gateway_admitted_requests"] >= 1
    stream.cancel()
    wait_until_idle(stack)


def test_a_stream_beside_it_notices_nothing_and_memory_returns(
    stack: RunningStack, stub: inference_pb2_grpc.InferenceServiceStub
) -> None:
    """One caller's mistakes are nobody else's matter, and cost the gateway nothing that stays."""
    with bystander(stack) as alone:
        pass
    _send_all(stub)
    wait_until_idle(stack)
    before = memory_bytes(stack, "gateway")
    with bystander(stack) as beside:
        _send_all(stub)
    assert beside.failure is None
    assert beside.answers == [alone.answers[0]] * len(beside.answers)
    assert len(alone.answers[0]) == 600
    wait_until_idle(stack)
    assert what_is_left(stack) == {}
    assert memory_bytes(stack, "gateway") < before + _MEMORY_SLACK_BYTES


def _send_all(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    huge = inference_pb2.GenerationRequest(input={"text": "x" * (100 << 20)})
    for request in (*(case.request for case in _ALL), huge):
        error_of(lambda sent=request: stub.Complete(inference_pb2.CompleteRequest(request=sent), timeout=_TIMEOUT_S))


def _question(max_tokens: int) -> inference_pb2.CompleteRequest:
    sampling = types_pb2.SamplingParams(max_tokens=max_tokens, ignore_eos=True, temperature=1.0)
    return inference_pb2.CompleteRequest(request={"input": {"text": "Once"}, "sampling": sampling})


def _chat_of(num_messages: int) -> inference_pb2.CompleteRequest:
    chat = inference_pb2.Chat(messages=[types_pb2.ChatMessage()] * num_messages)
    return inference_pb2.CompleteRequest(request={"input": {"chat": chat}})


def _part(number: int, content: bytes) -> bytes:
    """A message inside a message, on the wire."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
