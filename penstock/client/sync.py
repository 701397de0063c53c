"""The blocking client."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import grpc

from penstock.client.answer import Answer, Delta, Event
from penstock.client.calls import CallMaker, OutgoingCall, StreamState, answer_from_proto
from penstock.client.channel import channel_options, key_metadata
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


class Stream(Iterator[Event]):
    """The events of one generation, in order. Closing it, or dropping it, cancels what is not done.

        with client.stream("Tell me a story") as stream:
            for piece in stream.text:
                print(piece, end="")
        print(stream.answer().usage)

    Iteration raises a `PenstockError` where the generation fails.
    """

    def __init__(self, rpc: Any, call: OutgoingCall) -> None:
        self._rpc = rpc
        self._state = StreamState(rpc.cancel, call)

    def __next__(self) -> Event:
        event = None
        while event is None:
            event = self._state.take(self._receive())
        return event

    @property
    def text(self) -> Iterator[str]:
        """The text of the first choice, piece by piece."""
        return (event.text for event in self if isinstance(event, Delta) and event.choice == 0 and event.text)

    def answer(self) -> Answer:
        """Reads what is left and gives the whole answer."""
        for _ in self:
            pass
        return self._state.answer()

    def close(self) -> None:
        """Cancels the generation if it still runs."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> inference_pb2.GenerateResponse:
        try:
            response: inference_pb2.GenerateResponse = next(self._rpc)
        except StopIteration:
            self._state.end()
            raise
        except grpc.RpcError as error:
            raise self._state.failure(error) from error
        return response


class Client:
    """Talks to a gateway. Safe to use from several threads; use it as a context manager, or call `close`.

    Args:
        address: host:port of the gateway.
        api_key: shows who you are (`penstock keys create`); None: nothing is shown.
        insecure: let the key go unencrypted to another machine.
        tls_ca: file of the certificates to trust (PEM): of authorities, or the gateway's own; None: plaintext.
        tls_cert, tls_key: files of the client's certificate and its key, where the gateway asks for one.
        tls_server_name: expected in the gateway's certificate; None: the address.
        timeout_s: deadline of each call that names none, in seconds; `math.inf`: the server's maximum alone holds.
        tracer: records a client span for each call (an OpenTelemetry tracer). None: the globally configured one.

    Every method takes `timeout_s` and `traceparent` (W3C, to continue a trace from elsewhere) and raises a
    `PenstockError`; a call that nothing has answered yet is retried by itself while the gateway cannot be reached.

    Raises:
        ValueError: the key would cross a network unencrypted, and `insecure` does not allow it; or a TLS file is
            missing, or does not hold what it should.
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
            self._channel = grpc.insecure_channel(address, options=channel_options(address))
        else:
            options = [*channel_options(address), *tls.channel_options()]
            self._channel = grpc.secure_channel(address, tls.credentials(), options=options)
        self._stub = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._calls = CallMaker(timeout_s=timeout_s, tracer=tracer, metadata=metadata)

    def generate(
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
        return answer_from_proto(_unary(self._stub.Complete, request, call))

    def stream(
        self,
        prompt: str | None = None,
        *,
        timeout_s: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Stream:
        """Generates as `generate` does, and gives the events as they come."""
        request = inference_pb2.GenerateRequest(request=generation_request(prompt, options))
        call = self._calls.begin("Generate", timeout_s, traceparent)
        return Stream(self._stub.Generate(request, timeout=call.timeout_s, metadata=call.metadata), call)

    def embed(
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
        return embeddings_from_proto(_unary(self._stub.Embed, request, call))

    def count_tokens(
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
        response = _unary(self._stub.CountTokens, request, call)
        return TokenCount(response.num_tokens, response.model)

    def list_models(self, *, timeout_s: float | None = None, traceparent: str | None = None) -> list[Model]:
        """The models that a request can name."""
        call = self._calls.begin("ListModels", timeout_s, traceparent)
        response = _unary(self._stub.ListModels, inference_pb2.ListModelsRequest(), call)
        return [model_from_proto(model) for model in response.models]

    def capabilities(self, *, timeout_s: float | None = None, traceparent: str | None = None) -> Capabilities:
        """What the server can do, and its limits."""
        call = self._calls.begin("GetCapabilities", timeout_s, traceparent)
        request = inference_pb2.GetCapabilitiesRequest()
        return capabilities_from_proto(_unary(self._stub.GetCapabilities, request, call))

    def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unary(method: Callable[..., ResponseT], request: object, call: OutgoingCall) -> ResponseT:
    with call:
        return method(request, timeout=call.timeout_s, metadata=call.metadata)
