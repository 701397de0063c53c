"""Bytes that are no message, sent raw over real loopback gRPC."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.parsing import parse_request
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

_COMPLETE = "/penstock.inference.v1.InferenceService/Complete"
_GENERATE = "/penstock.inference.v1.InferenceService/Generate"
_SESSION = "/penstock.worker.v1.WorkerService/Session"
_HEALTH = "/grpc.health.v1.Health/Check"
_NO_MESSAGE = b"\xff" * 12


class _Inference(inference_pb2_grpc.InferenceServiceServicer):
    """Answers everything."""

    async def Complete(  # noqa: N802
        self, request: inference_pb2.CompleteRequest, context: object
    ) -> inference_pb2.CompleteResponse:
        return inference_pb2.CompleteResponse()

    async def Generate(  # noqa: N802
        self, request: inference_pb2.GenerateRequest, context: object
    ) -> AsyncIterator[inference_pb2.GenerateResponse]:
        yield inference_pb2.GenerateResponse()


class _Worker(worker_pb2_grpc.WorkerServiceServicer):
    """Counts the requests of a stream."""

    async def Session(  # noqa: N802
        self, requests: AsyncIterator[worker_pb2.SessionRequest], context: object
    ) -> AsyncIterator[worker_pb2.SessionResponse]:
        seq = 0
        async for _ in requests:
            seq += 1
            yield worker_pb2.SessionResponse(seq=seq)


@asynccontextmanager
async def _channel(credential: FleetCredential | None = None) -> AsyncIterator[grpc.aio.Channel]:
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("server"), credential=credential)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(_Inference(), server.server)
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(_Worker(), server.server)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.drain(0)


async def _unary(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    return await channel.unary_unary(method)(data, timeout=10)


async def _server_stream(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    return await channel.unary_stream(method)(data, timeout=10).read()


async def _client_stream(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    call = channel.stream_stream(method)(timeout=10)
    await call.write(worker_pb2.SessionRequest().SerializeToString())
    assert worker_pb2.SessionResponse.FromString(await call.read()).seq == 1
    await call.write(data)
    return await call.read()


def _with_text(text: bytes) -> bytes:
    """A request whose second message has this content."""
    messages = [types_pb2.ChatMessage(role="user", content=content) for content in ("first", "PLACE")]
    chat = inference_pb2.Chat(messages=messages)
    request = inference_pb2.GenerationRequest(model="m", input=inference_pb2.Input(chat=chat))
    return inference_pb2.CompleteRequest(request=request).SerializeToString().replace(b"PLACE", text)


@pytest.mark.parametrize(
    ("send", "method", "message"),
    [
        (_unary, _COMPLETE, "penstock.inference.v1.CompleteRequest"),
        (_server_stream, _GENERATE, "penstock.inference.v1.GenerateRequest"),
        (_client_stream, _SESSION, "penstock.worker.v1.SessionRequest"),
        (_unary, _HEALTH, "grpc.health.v1.HealthCheckRequest"),
    ],
)
async def test_bytes_that_are_no_message_are_the_callers_error(
    send: Callable[[grpc.aio.Channel, str, bytes], Any], method: str, message: str
) -> None:
    """They ended as UNKNOWN with a traceback in our log: whoever sent them learned nothing, and we were alarmed."""
    async with _channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await send(channel, method, _NO_MESSAGE)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == (
        f"{message}: got '12 bytes that do not parse'; "
        "allowed: a serialized message of this type, with UTF-8 in its string fields"
    )
    status = rpc_status.from_call(raised.value)
    assert {detail.type_url.rsplit(".", 1)[1] for detail in status.details} == {"ErrorInfo", "BadRequest"}


@pytest.mark.parametrize(("send", "method"), [(_unary, _COMPLETE), (_server_stream, _GENERATE)])
async def test_text_that_is_not_utf8_is_named_with_its_field(
    send: Callable[[grpc.aio.Channel, str, bytes], Any], method: str
) -> None:
    """A client that cuts text between two bytes finds out which text that was."""
    async with _channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await send(channel, method, _with_text(b"caf\xc3!"))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details().startswith(
        "request.input.chat.messages[1].content: got 'byte 0xc3 at position 3'; allowed: UTF-8"
    )


async def test_nothing_is_parsed_for_a_caller_without_credential() -> None:
    """Whoever is not let in gets no work done, and no hint at the contract."""
    async with _channel(FleetCredential("x" * 32)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _unary(channel, _COMPLETE, _NO_MESSAGE)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_good_messages_pass() -> None:
    """The way of every request."""
    async with _channel() as channel:
        assert await _unary(channel, _COMPLETE, _with_text(b"caf\xc3\xa9")) == b""
        assert await _unary(channel, _HEALTH, b"") == health_pb2.HealthCheckResponse(status=2).SerializeToString()


def test_a_large_bad_message_is_not_searched() -> None:
    """The search is slower than the parser; a client must not buy seconds of our time with a message of some MiB."""
    request = inference_pb2.GenerationRequest(model="x" * 70_000)
    data = inference_pb2.CompleteRequest(request=request).SerializeToString().replace(b"x", b"\xff")
    with pytest.raises(InvalidArgumentError, match="70008 bytes that do not parse"):
        parse_request(inference_pb2.CompleteRequest.FromString, data)
