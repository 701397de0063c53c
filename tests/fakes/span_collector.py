"""An OTLP/gRPC trace receiver: a real server that keeps what it is sent."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """A span as it came over the wire; ids are hexadecimal, an absent parent is empty."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, object]


class SpanCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans and lets a test wait for them."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self._arrived = threading.Condition()
        self.endpoint = ""

    def Export(  # noqa: N802 - the contract's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Takes a batch."""
        with self._arrived:
            self.spans.extend(_spans_of(request))
            self._arrived.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, condition: Callable[[list[CollectedSpan]], bool], timeout_s: float = 20) -> list[CollectedSpan]:
        """The spans so far, as soon as they satisfy `condition`; AssertionError where they never do."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: condition(self.spans), timeout_s)
            assert arrived, f"these spans only: {[(span.service, span.name) for span in self.spans]}"
            return list(self.spans)


@contextmanager
def span_collector() -> Iterator[SpanCollector]:
    """A collector that listens on loopback."""
    collector = SpanCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0)


def _spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[CollectedSpan]:
    for resource in request.resource_spans:
        service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes={a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
                )
