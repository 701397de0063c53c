"""The client's spans, by a real OpenTelemetry SDK."""

import subprocess
import sys

import grpc
import pytest
from fakes.inference_server import TRACE_ID, Hold, ScriptedInference, started
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import penstock
from penstock import Client
from penstock_shared import semconv
from penstock_shared.errors import NotFoundError


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps finished spans."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """An application's own OpenTelemetry set-up."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def test_call_is_a_client_span_whose_context_reaches_the_server(
    server: ScriptedInference, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """The trace begins at the client: the server's spans hang under its span."""
    with Client(server.address, tracer=provider.get_tracer("app")) as client:
        client.generate("go")
    (span,) = exporter.get_finished_spans()
    context = span.get_span_context()
    assert context is not None
    sent = server.seen[0].metadata["traceparent"]
    assert sent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert (span.name, span.kind) == ("penstock.inference.v1.InferenceService/Complete", SpanKind.CLIENT)
    assert span.attributes == {
        semconv.RPC_SYSTEM: semconv.GRPC,
        semconv.RPC_METHOD: "penstock.inference.v1.InferenceService/Complete",
        semconv.RPC_STATUS_CODE: "OK",
    }


def test_active_span_is_the_parent(
    server: ScriptedInference, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A call inside an application's span belongs to it."""
    tracer = provider.get_tracer("app")
    with Client(server.address, tracer=tracer) as client, tracer.start_as_current_span("handler"):
        client.stream("go").answer()
    call, handler = exporter.get_finished_spans()
    assert call.parent is not None
    assert call.parent.span_id == handler.get_span_context().span_id  # type: ignore[union-attr]


def test_given_traceparent_is_the_parent(
    server: ScriptedInference, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A trace that came from elsewhere goes on through our span."""
    with Client(server.address, tracer=provider.get_tracer("app")) as client:
        client.generate("go", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")
    (span,) = exporter.get_finished_spans()
    assert f"{span.get_span_context().trace_id:032x}" == TRACE_ID  # type: ignore[union-attr]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_failed_call_marks_its_span(
    server: ScriptedInference, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """Errors are found in the trace by their code."""
    server.script = [NotFoundError("model", "nope")]
    with Client(server.address, tracer=provider.get_tracer("app")) as client, pytest.raises(penstock.NotFoundError):
        client.generate("go")
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, (span.attributes or {})[semconv.ERROR_TYPE]) == (StatusCode.ERROR, "NOT_FOUND")


@pytest.mark.parametrize("how", ["close", "drop"])
def test_span_of_a_stream_left_early_ends(
    server: ScriptedInference, provider: TracerProvider, exporter: InMemorySpanExporter, how: str
) -> None:
    """A span that never ends is never seen."""
    server.script = [started(), Hold()]
    with Client(server.address, tracer=provider.get_tracer("app")) as client:
        stream = client.stream("go")
        next(stream)
        if how == "close":
            stream.close()
        del stream
        (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})[semconv.RPC_STATUS_CODE] == grpc.StatusCode.CANCELLED.name


def test_without_any_set_up_no_trace_is_made_up(server: ScriptedInference) -> None:
    """The server then begins the trace, and decides on its sampling."""
    with Client(server.address) as client:
        client.generate("go")
    assert "traceparent" not in server.seen[0].metadata


_WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry"] = None
from penstock import Client
with Client(sys.argv[1]) as client:
    print(client.generate("go", traceparent=sys.argv[2]).text)
servers = ("penstock_shared", "opentelemetry.", "rich", "typer", "torch", "ray", "pydantic", "structlog")
print([name for name in sys.modules if name.startswith(servers)])
"""


def test_base_install_suffices(server: ScriptedInference) -> None:
    """Users of the client install gRPC and protobuf and nothing else; a given traceparent still goes along."""
    traceparent = f"00-{TRACE_ID}-b7ad6b7169203331-01"
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_OPENTELEMETRY, server.address, traceparent],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == ["Paris.", "[]"]
    assert server.seen[0].metadata["traceparent"] == traceparent
