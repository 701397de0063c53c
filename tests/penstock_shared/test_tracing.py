"""Traces are made from timestamps and reach a real OTLP server."""

import random

import pytest
from fakes.span_collector import span_collector
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock_shared.settings import ServiceSettings
from penstock_shared.tracing import TraceContext, Tracer, make_tracer

_VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_traceparent_survives_a_round_trip() -> None:
    """The header is the only thing that ties two processes' spans together."""
    context = TraceContext.parse(_VALID)
    assert context is not None
    assert context.is_sampled
    assert context.traceparent() == _VALID


@pytest.mark.parametrize(
    "header",
    [None, "", "garbage", _VALID.upper(), _VALID[:-1], f"00-{'0' * 32}-b7ad6b7169203331-01", f"01{_VALID[2:]}x"],
)
def test_a_malformed_header_begins_a_new_trace(header: str | None) -> None:
    """A client's bad header must not end its request."""
    assert TraceContext.parse(header) is None


def test_a_child_keeps_trace_and_sampling_and_has_its_own_span() -> None:
    """Sampling is decided at the root, once."""
    parent = TraceContext.parse(_VALID.removesuffix("01") + "00")
    child = Tracer("demo").begin(parent)
    assert parent is not None
    assert (child.trace_id, child.is_sampled) == (parent.trace_id, False)
    assert child.span_id != parent.span_id


def test_a_recorded_span_arrives_with_its_times_and_parent() -> None:
    """What operators see is what happened."""
    with span_collector() as collector:
        settings = ServiceSettings(otlp_endpoint=collector.endpoint)
        tracer = make_tracer("demo", settings)
        root = tracer.begin(None)
        child = tracer.begin(root)
        tracer.record("work", child, parent=root, start_ns=1_000, end_ns=5_000, attributes={"n": 3}, error="BROKEN")
        (span,) = collector.wait_for(bool)
        tracer.shutdown()
    assert (span.service, span.name, span.start_ns, span.end_ns) == ("demo", "work", 1_000, 5_000)
    assert (span.trace_id, int(span.parent_id, 16)) == (root.trace_id_hex, root.span_id)
    assert span.attributes == {"n": 3, "error.type": "BROKEN"}


def test_the_sample_ratio_holds_for_whole_traces() -> None:
    """Half a trace helps nobody."""
    tracer = Tracer("demo", exporter=InMemorySpanExporter(), sample_ratio=0.5, randomness=random.Random(0))
    roots = [tracer.begin(None) for _ in range(200)]
    tracer.shutdown()
    assert 70 < sum(root.is_sampled for root in roots) < 130
    assert all(tracer.begin(root).is_sampled == root.is_sampled for root in roots)
