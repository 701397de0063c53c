"""One trace of a request, with the right parents."""

from collections.abc import Iterator

import pytest
from fakes.gateway_deployment import StartDeployment, collect
from fakes.span_collector import CollectedSpan, SpanCollector, span_collector

from penstock_shared.tracing import TraceContext

TRACE = TraceContext(trace_id=0xABC, span_id=0x123, is_sampled=True)


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    """A real OTLP receiver."""
    with span_collector() as running:
        yield running


def names_under(spans: list[CollectedSpan], parent_id: str) -> set[str]:
    """The spans directly under one."""
    return {span.name for span in spans if span.parent_id == parent_id}


async def test_a_request_is_one_tree_from_the_client_to_tokenizer_and_worker(
    start: StartDeployment, collector: SpanCollector
) -> None:
    """Without the whole tree nobody can tell where a request's time went."""
    deployment = await start(otlp_endpoint=collector.endpoint)
    metadata = (("traceparent", TRACE.traceparent()),)
    call = deployment.generate("Hi", metadata=metadata, sampling={"seed": 3})
    events = await collect(call)
    assert events[0].started.trace_id == TRACE.trace_id_hex
    spans = collector.wait_for(lambda found: len(found) >= 8)
    assert {span.trace_id for span in spans} == {TRACE.trace_id_hex}
    by_name = {span.name: span for span in spans}
    server = by_name["penstock.inference.v1.InferenceService/Generate"]
    assert server.parent_id == f"{TRACE.span_id:016x}"
    assert names_under(spans, server.span_id) == {"text_completion pocket"}
    request = by_name["text_completion pocket"]
    assert names_under(spans, request.span_id) == {"admit", "tokenize", "queue", "prefill", "decode"}
    rpc = "penstock.tokenizer.v1.TokenizerService/Encode"
    assert names_under(spans, by_name["tokenize"].span_id) == {rpc}
    sent = TraceContext.parse(deployment.workers[0].groups[0].traceparent)
    assert sent is not None
    assert (sent.trace_id, f"{sent.span_id:016x}") == (TRACE.trace_id, request.span_id)
    assert request.attributes["gen_ai.request.model"] == "pocket"
    assert request.attributes["gen_ai.usage.output_tokens"] == 12
    assert request.attributes["gen_ai.request.seed"] == 3
    assert request.attributes["penstock.replica"] == "replica-0"


async def test_phases_follow_each_other_within_the_request(start: StartDeployment, collector: SpanCollector) -> None:
    """Spans are made from the noted instants, so they must fit together."""
    deployment = await start(otlp_endpoint=collector.endpoint)
    await deployment.complete("Hi")
    spans = {span.name: span for span in collector.wait_for(lambda found: len(found) >= 8)}
    phases = [spans[name] for name in ("admit", "tokenize", "queue", "prefill", "decode")]
    borders = [border for phase in phases for border in (phase.start_ns, phase.end_ns)]
    assert borders == sorted(borders)
    request = spans["text_completion pocket"]
    assert request.start_ns <= borders[0]
    assert borders[-1] <= request.end_ns


async def test_a_failed_request_is_a_span_with_its_error(start: StartDeployment, collector: SpanCollector) -> None:
    """Failures are what traces are opened for."""
    deployment = await start(otlp_endpoint=collector.endpoint)
    call = deployment.generate("Hi", sampling={"top_p": 2.0})
    with pytest.raises(Exception, match="top_p"):
        await collect(call)
    spans = collector.wait_for(lambda found: len(found) >= 3)
    (request,) = [span for span in spans if span.name.startswith("text_completion")]
    assert request.attributes["error.type"] == "INVALID_ARGUMENT"
