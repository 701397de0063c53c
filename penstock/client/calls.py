"""What a sync and an asyncio call have in common: deadline, trace, and the translation of failures."""

import math
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from penstock.client.answer import Answer, Event
from penstock.client.assembly import AnswerAssembly
from penstock.client.convert import event_from_proto, events_from_proto
from penstock.client.errors import PenstockError, error_from_call
from penstock.client.trace import CallSpan, Metadata, span_source
from penstock.inference.v1 import inference_pb2

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_SERVICE = "penstock.inference.v1.InferenceService"


class CallMaker:
    """Begins calls of one client.

    Args:
        timeout_s: deadline of calls that name none, in seconds from their start.
        tracer: see `Client`.
        metadata: goes along with every call.
    """

    def __init__(self, *, timeout_s: float, tracer: "Tracer | None", metadata: Metadata) -> None:
        self._timeout_s = timeout_s
        self._metadata = metadata
        self._spans = span_source(tracer)

    def begin(self, method: str, timeout_s: float | None, traceparent: str | None) -> "OutgoingCall":
        """A call of `method` (its bare name) that is about to be sent."""
        span = self._spans.begin(f"{_SERVICE}/{method}", traceparent)
        return OutgoingCall(span, self._timeout_s if timeout_s is None else timeout_s, self._metadata)


class OutgoingCall:
    """One call on its way. As a context manager around it: ends the span, and raises our error in place of gRPC's."""

    def __init__(self, span: CallSpan, timeout_s: float, metadata: Metadata) -> None:
        self._span = span
        self._metadata = metadata
        self._is_ended = False
        self.timeout_s = None if math.isinf(timeout_s) else timeout_s

    @property
    def metadata(self) -> Metadata:
        """What goes along with the call."""
        return (*self._metadata, *self._span.metadata)

    def end(self, code: grpc.StatusCode) -> None:
        """Ends the span; only the first end counts."""
        if not self._is_ended:
            self._is_ended = True
            self._span.end(code)

    def failure(self, error: grpc.RpcError) -> PenstockError:
        """Ends the span with the failure and gives what the caller shall see."""
        translated = error_from_call(error)
        self.end(translated.code)
        return translated

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, grpc.RpcError):
            raise self.failure(error) from error
        self.end(grpc.StatusCode.OK if error is None else grpc.StatusCode.CANCELLED)


class StreamState:
    """The events of one stream so far. The sync and the asyncio stream differ only in how they wait for the next."""

    def __init__(self, cancel: Callable[[], object], call: OutgoingCall) -> None:
        self._cancel = cancel
        self._call = call
        self._assembly = AnswerAssembly()
        # Whoever drops a stream half-way wants the rest as little as one who closes it. (gRPC's asyncio calls go on.)
        weakref.finalize(self, _close, cancel, call).atexit = False

    def take(self, response: inference_pb2.GenerateResponse) -> Event | None:
        """The event of a message; None for one that this client does not know."""
        event = event_from_proto(response)
        return None if event is None else self._assembly.add(event)

    def answer(self) -> Answer:
        """The whole answer, once the stream has ended."""
        return self._assembly.answer()

    def end(self) -> None:
        """The stream ended as it should."""
        self._call.end(grpc.StatusCode.OK)

    def close(self) -> None:
        """Cancels what is not done."""
        _close(self._cancel, self._call)

    def failure(self, error: grpc.RpcError) -> PenstockError:
        """The stream failed."""
        return self._call.failure(error)


def _close(cancel: Callable[[], object], call: OutgoingCall) -> None:
    cancel()
    call.end(grpc.StatusCode.CANCELLED)


def answer_from_proto(response: inference_pb2.CompleteResponse) -> Answer:
    """A unary answer, through the same steps as a streamed one."""
    assembly = AnswerAssembly()
    for event in events_from_proto(response):
        assembly.add(event)
    return assembly.answer()
