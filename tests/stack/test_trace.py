"""One request is one trace, whoever works on it."""

from fakes.span_collector import CollectedSpan, SpanCollector
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from stack.running import RunningStack

from penstock import Client

_GENERATE = "penstock.inference.v1.InferenceService/Generate"
_RENDER = "penstock.tokenizer.v1.TokenizerService/RenderChat"
_LOOKUP = "penstock.cache.v1.CacheService/Lookup"
_EXPECTED = {
    ("client", _GENERATE),
    ("penstock-gateway", _GENERATE),
    ("penstock-gateway", "chat pocket"),
    ("penstock-gateway", "cache"),
    ("penstock-gateway", _LOOKUP),
    ("penstock-cache", _LOOKUP),
    ("penstock-gateway", "queue"),
    ("penstock-gateway", "prefill"),
    ("penstock-gateway", "decode"),
    ("penstock-gateway", _RENDER),
    ("penstock-tokenizer", _RENDER),
    ("penstock-worker", "engine.generate"),
}


def test_client_gateway_cache_tokenizer_and_worker_share_one_tree(stack: RunningStack, spans: SpanCollector) -> None:
    """A slow answer is explained by one picture, or not at all."""
    provider = TracerProvider(resource=Resource.create({"service.name": "client"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=spans.endpoint, insecure=True)))
    with Client(stack.gateway_address, tracer=provider.get_tracer("test")) as client:
        stream = client.stream(messages=[{"role": "user", "content": "What is the capital of Italy?"}])
        trace_id = stream.answer().trace_id

    def of_this_trace(collected: list[CollectedSpan]) -> dict[tuple[str, str], CollectedSpan]:
        return {(span.service, span.name): span for span in collected if span.trace_id == trace_id}

    found = of_this_trace(spans.wait_for(lambda collected: of_this_trace(collected).keys() >= _EXPECTED))
    provider.shutdown()

    def parent_of(service: str, name: str) -> tuple[str, str] | None:
        parent_id = found[service, name].parent_id
        return next((key for key, span in found.items() if span.span_id == parent_id), None)

    assert found["client", _GENERATE].parent_id == ""
    assert parent_of("penstock-gateway", _GENERATE) == ("client", _GENERATE)
    assert parent_of("penstock-gateway", "chat pocket") == ("penstock-gateway", _GENERATE)
    assert parent_of("penstock-tokenizer", _RENDER) == ("penstock-gateway", _RENDER)
    assert parent_of("penstock-cache", _LOOKUP) == ("penstock-gateway", _LOOKUP)
    assert parent_of("penstock-gateway", _LOOKUP) == ("penstock-gateway", "cache")
    assert _is_under(found, ("penstock-gateway", _RENDER), "chat pocket")
    assert _is_under(found, ("penstock-worker", "engine.generate"), "chat pocket")
    assert all(span.start_ns <= span.end_ns for span in found.values())


def _is_under(found: dict[tuple[str, str], CollectedSpan], key: tuple[str, str], ancestor: str) -> bool:
    by_id = {span.span_id: span for span in found.values()}
    span: CollectedSpan | None = found[key]
    while span is not None and span.name != ancestor:
        span = by_id.get(span.parent_id)
    return span is not None
