"""A sequence leaves one span with its phases below it, under the gateway's."""

from itertools import pairwise

from fakes.gateway_session import group
from fakes.running_replica import RunningReplica
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock_shared.tracing import TraceContext

GATEWAY = TraceContext(trace_id=0xABC, span_id=0x123, is_sampled=True)


async def recorded(replica: RunningReplica, spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """What was exported, by name."""
    replica.tracer.shutdown()
    return {span.name: span for span in spans.get_finished_spans()}


async def test_a_finished_sequence_leaves_its_phases_in_order(
    replica: RunningReplica, spans: InMemorySpanExporter
) -> None:
    """'Where did the time go' is answered down to the engine, without a gap between the phases."""
    session = await replica.session()
    traced = group(1, max_tokens=5)
    traced.traceparent = GATEWAY.traceparent()
    await session.submit(traced)
    await session.read_ends([1])
    found = await recorded(replica, spans)
    generate = found["engine.generate"]
    assert generate.parent is not None
    assert (generate.parent.trace_id, generate.parent.span_id) == (GATEWAY.trace_id, GATEWAY.span_id)
    assert {span.context.trace_id for span in found.values() if span.name.startswith("engine.")} == {GATEWAY.trace_id}
    assert generate.attributes is not None
    assert generate.attributes["gen_ai.usage.output_tokens"] == 5
    assert generate.attributes["penstock.replica"] == "tiny-0"
    phases = [found[name] for name in ("engine.queue", "engine.prefill", "engine.decode")]
    for phase in phases:
        assert phase.parent is not None
        assert phase.parent.span_id == generate.context.span_id
    for earlier, later in pairwise(phases):
        assert earlier.end_time == later.start_time
    assert generate.start_time == phases[0].start_time
    assert phases[-1].end_time == generate.end_time


async def test_a_cancelled_sequence_leaves_spans_too(replica: RunningReplica, spans: InMemorySpanExporter) -> None:
    """Clients that go away are what one looks for in traces."""
    session = await replica.session()
    traced = group(1, max_tokens=6000)
    traced.traceparent = GATEWAY.traceparent()
    await session.submit(traced)
    await session.read_until(lambda message: bool(message.step.outputs))
    await session.cancel(1)
    await session.read_ends([1])
    found = await recorded(replica, spans)
    assert found["engine.generate"].attributes is not None
    assert found["engine.generate"].attributes["gen_ai.response.finish_reasons"] == ["cancelled"]
    assert found["engine.decode"].end_time == found["engine.generate"].end_time


async def test_an_unsampled_request_leaves_none(replica: RunningReplica, spans: InMemorySpanExporter) -> None:
    """Sampling is decided at the root."""
    session = await replica.session()
    untraced = group(1, max_tokens=2)
    untraced.traceparent = TraceContext(1, 2, is_sampled=False).traceparent()
    await session.submit(untraced, group(2, max_tokens=2))
    await session.read_ends([1, 2])
    assert "engine.generate" not in await recorded(replica, spans)
