"""The command line's own place in a trace, where the stack records traces."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_EXPORT_TIMEOUT_S = 2


@contextmanager
def command_tracer(command: str, endpoint: str | None) -> Iterator["Tracer | None"]:
    """A tracer inside a span named `command`; None where nothing is to be recorded.

    Spans go to PENSTOCK_OTLP_ENDPOINT, else to `endpoint`.
    """
    endpoint = os.environ.get("PENSTOCK_OTLP_ENDPOINT") or endpoint
    if endpoint is None:
        yield None
        return
    # Slow to import, and most commands record nothing.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    is_insecure = not endpoint.startswith("https://")
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=is_insecure, timeout=_EXPORT_TIMEOUT_S)
    provider = TracerProvider(resource=Resource.create({"service.name": "penstock-cli"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("penstock.cli")
    try:
        with tracer.start_as_current_span(command):
            yield tracer
    finally:
        provider.shutdown()
