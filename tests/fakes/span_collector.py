"""An OTLP/gRPC trace receiver: a real server that keeps what it is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class SpanCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans and lets a test wait for them."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self._arrived = asyncio.Condition()
        self.endpoint = ""

    async def Export(  # noqa: N802 - the contract's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Takes a batch."""
        for resource in request.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend((names["service.name"], span) for span in scope.spans)
        async with self._arrived:
            self._arrived.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    async def wait_for(self, condition: Callable[[list[tuple[str, Span]]], bool], timeout_s: float = 20) -> None:
        """Returns when the spans so far satisfy `condition`."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: condition(self.spans))


@asynccontextmanager
async def span_collector() -> AsyncIterator[SpanCollector]:
    """A collector that listens on loopback."""
    collector = SpanCollector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    collector.endpoint = f"http://127.0.0.1:{port}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)
