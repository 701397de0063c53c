"""The client's place in a trace.

Where OpenTelemetry's API is installed, each call is a client span under the active one, recorded if the application has
configured a provider (or gave a tracer); its W3C `traceparent` goes along. Without it, a `traceparent` that the caller
gives is passed on as it is.
"""

from typing import TYPE_CHECKING, Protocol

import grpc

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_TRACEPARENT = "traceparent"
Metadata = tuple[tuple[str, str], ...]


class CallSpan(Protocol):
    """One call's span."""

    @property
    def metadata(self) -> Metadata:
        """What tells the server of it."""

    def end(self, code: grpc.StatusCode) -> None:
        """The call ended with `code`."""


class SpanSource(Protocol):
    """Begins the spans of calls."""

    def begin(self, method: str, traceparent: str | None) -> CallSpan:
        """A span for a call of `method` (package.Service/Method), under `traceparent` where one is given."""


def span_source(tracer: "Tracer | None") -> SpanSource:
    """Spans through `tracer`, else through OpenTelemetry's global provider, else none at all."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return _NoSpans()
    return _OpenTelemetrySpans(tracer or trace.get_tracer("penstock.client"))


class _NoSpans:
    def begin(self, method: str, traceparent: str | None) -> CallSpan:
        del method
        return _NoSpan(() if traceparent is None else ((_TRACEPARENT, traceparent),))


class _NoSpan:
    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata

    def end(self, code: grpc.StatusCode) -> None:
        del code


class _OpenTelemetrySpans:
    def __init__(self, tracer: "Tracer") -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - an optional dependency
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._tracer = tracer
        self._kind = SpanKind.CLIENT
        self._propagator = TraceContextTextMapPropagator()
        self._set_span_in_context = set_span_in_context

    def begin(self, method: str, traceparent: str | None) -> CallSpan:
        parent = None if traceparent is None else self._propagator.extract({_TRACEPARENT: traceparent})
        span = self._tracer.start_span(
            method,
            context=parent,
            kind=self._kind,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=self._set_span_in_context(span))
        return _OpenTelemetrySpan(span, tuple(carrier.items()))


class _OpenTelemetrySpan:
    def __init__(self, span: "Span", metadata: Metadata) -> None:
        self._span = span
        self.metadata = metadata

    def end(self, code: grpc.StatusCode) -> None:
        self._span.set_attribute("rpc.status_code", code.name)
        if code is not grpc.StatusCode.OK:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415 - an optional dependency

            self._span.set_attribute("error.type", code.name)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
