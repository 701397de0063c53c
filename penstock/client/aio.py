"""The asyncio client: the blocking one's twin, method for method."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import grpc

from penstock.client.answer import Answer, Delta, Event
from penstock.client.calls import CallMaker, OutgoingCall, StreamState, answer_from_proto
from penstock.client.channel import channel_options, key_metadata
from penstock.client.errors import make_error
from penstock.client.models import (
    Capabilities,
    Embeddings,
    Model,
    TokenCount,
    capabilities_from_proto,
    embeddings_from_proto,
    model_from_proto,
)
from penstock.client.options import EmbedOptions, GenerationOptions, InputOptions
from penstock.client.request import count_request, embed_request, generation_request
from penstock.client.tls import FilePath, tls_options
from penstock.inference.v1 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

ResponseT = TypeVar("ResponseT")


class AsyncStream(AsyncIterator[Event]):
    """The events of one generation, in order. Closing it, dropping it, or cancelling its reader cancels the rest.

    async with client.stream("Tell me a story") as stream:
        async for piece in stream.text:
            print(piece, end="")
    print((await stream.answer()).usage)
    """

    def __init__(self, rpc: Any, call: OutgoingCall) -> None:
        self._rpc = rpc
        self._state = StreamState(rpc.cancel, call)
        self._is_closed = False

    async def __anext__(self) -> Event:
        event = None
        while event is None:
            event = self._state.take(await self._receive())
        return event

    @property
    def text(self) -> AsyncIterator[str]:
        """The text of the first choice, piece by piece."""
        return (event.text async for event in self if isinstance(event, Delta) and event.choice == 0 and event.text)

    async def answer(self) -> Answer:
        """Reads what is left and gives the whole answer."""
        async for _ in self:
            pass
        return self._state.answer()

    def close(self) -> None:
        """Cancels the generation if it still runs."""
        self._is_closed = True
        self._state.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _receive(self) -> inference_pb2.GenerateResponse:
        try:
            response = await self._rpc.read()
        except grpc.RpcError as error:
            raise self._state.failure(error) from error
        except asyncio.CancelledError:
            if self._is_closed:  # gRPC tells a cancelled call by the exception that means a cancelled task
                raise make_error(grpc.StatusCode.CANCELLED, "the stream was closed") from None
            self.close()
            raise
        if response is grpc.aio.EOF:
            self._state.end()
            raise StopAsyncIteration
        return response  # type: ignore[no-any-return]


class AsyncClient:
    """Talks to a gateway from asyncio. Arguments, options and errors are those of `Client`.

    Make it inside the running loop, and use it as an async context manager, or call `close`.
    """

    def __init__(
        self,
        address: str,
        *,
        api_key: str | None = None,
        insecure: bool = False,
        tls_ca: FilePath | None = None,
        tls_cert: FilePath | None = None,
        tls_key: FilePath | None = None,
        tls_server_name: str | None = None,
        timeout_s: float = 300.0,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.address = address
        tls = tls_options(tls_ca, tls_cert, tls_key, tls_server_name)
        metadata = key_metadata(api_key, address, is_insecure=insecure or tls is not None)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, options=channel_options(address))
        else:
            options = [*channel_options(address), *tls.channel_options()]
            self._channel = grpc.aio.secure_channel(address, tls.credentials(), options=options)
        self._stub = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._calls = CallMaker(timeout_s=timeout_s, tracer=tracer, metadata=metadata)

    async def generate(
        self,
        prompt: str | None = None,
        *,
        timeout_s: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Answer:
        """Generates from a text prompt, `messages=` or `token_ids=` and waits for the whole answer."""
        request = inference_pb2.CompleteRequest(request=generation_request(prompt, options))
        call = self._calls.begin("Complete", timeout_s, traceparent)
        return answer_from_proto(await _unary(self._stub.Complete, request, call))

    def stream(
        self,
        prompt: str | None = None,
        *,
        timeout_s: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> AsyncStream:
        """Generates as `generate` does, and gives the events as they come."""
        request = inference_pb2.GenerateRequest(request=generation_request(prompt, options))
        call = self._calls.begin("Generate", timeout_s, traceparent)
        return AsyncStream(self._stub.Generate(request, timeout=call.timeout_s, metadata=call.metadata), call)

    async def embed(
        self,
        inputs: Sequence[str | Sequence[int]],
        *,
        timeout_s: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Turns texts, or lists of token ids, into vectors."""
        request = embed_request(inputs, options)
        call = self._calls.begin("Embed", timeout_s, traceparent)
        return embeddings_from_proto(await _unary(self._stub.Embed, request, call))

    async def count_tokens(
        self,
        prompt: str | None = None,
        *,
        timeout_s: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[InputOptions],
    ) -> TokenCount:
        """Counts the tokens of an input as a generation would see it."""
        request = count_request(prompt, options)
        call = self._calls.begin("CountTokens", timeout_s, traceparent)
        response = await _unary(self._stub.CountTokens, request, call)
        return TokenCount(response.num_tokens, response.model)

    async def list_models(self, *, timeout_s: float | None = None, traceparent: str | None = None) -> list[Model]:
        """The models that a request can name."""
        call = self._calls.begin("ListModels", timeout_s, traceparent)
        response = await _unary(self._stub.ListModels, inference_pb2.ListModelsRequest(), call)
        return [model_from_proto(model) for model in response.models]

    async def capabilities(self, *, timeout_s: float | None = None, traceparent: str | None = None) -> Capabilities:
        """What the server can do, and its limits."""
        call = self._calls.begin("GetCapabilities", timeout_s, traceparent)
        request = inference_pb2.GetCapabilitiesRequest()
        return capabilities_from_proto(await _unary(self._stub.GetCapabilities, request, call))

    async def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _unary(method: Callable[..., Awaitable[ResponseT]], request: object, call: OutgoingCall) -> ResponseT:
    with call:
        return await method(request, timeout=call.timeout_s, metadata=call.metadata)
