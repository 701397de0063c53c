"""A request's spans, built when it has ended from the instants that were noted meanwhile."""

from dataclasses import dataclass

from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_gateway.events import CacheReport, Started, Usage
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation
from penstock_gateway.requests import ChatInput, GenerationRequest
from penstock_gateway.sampling import ResolvedSampling
from penstock_gateway.timeline import Timeline
from penstock_shared import semconv
from penstock_shared.tracing import AttributeValue, TraceContext, Tracer

_LARGEST_ATTRIBUTE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """The contexts of a request's spans that callees must know before the spans are recorded.

    Attributes:
        server: the RPC's span; None where nobody traces.
        request: the span of the whole request, under it.
        tokenize, cache: the spans that the calls of those services belong to.
    """

    server: TraceContext | None
    request: TraceContext
    tokenize: TraceContext
    cache: TraceContext

    @classmethod
    def begin(cls, tracer: Tracer, server: TraceContext | None) -> "RequestTrace":
        """New contexts under the RPC's."""
        request = tracer.begin(server)
        return cls(server, request, tracer.begin(request), tracer.begin(request))


def operation_of(request: GenerationRequest) -> str:
    """`gen_ai.operation.name`."""
    return semconv.OPERATION_CHAT if isinstance(request.input, ChatInput) else semconv.OPERATION_TEXT_COMPLETION


def record_request(
    tracer: Tracer,
    trace: RequestTrace,
    timeline: Timeline,
    *,
    operation: str,
    model: str,
    attributes: dict[str, AttributeValue],
    error: str | None,
) -> None:
    """Records the span of a sampled request and one for each of its phases."""
    known = {"tokenize": trace.tokenize, "cache": trace.cache}
    for name, begin_ns, end_ns in timeline.phases():
        tracer.record(
            name,
            known.get(name) or tracer.begin(trace.request),
            parent=trace.request,
            start_ns=timeline.wall_ns(begin_ns),
            end_ns=timeline.wall_ns(end_ns),
        )
    tracer.record(
        f"{operation} {model}",
        trace.request,
        parent=trace.server,
        start_ns=timeline.arrived_wall_ns,
        end_ns=timeline.wall_ns(timeline.ended_ns or timeline.clock_ns()),
        attributes={
            semconv.GEN_AI_OPERATION_NAME: operation,
            semconv.GEN_AI_PROVIDER_NAME: semconv.PROVIDER,
            semconv.GEN_AI_REQUEST_MODEL: model,
            **attributes,
        },
        error=error,
    )


def attributes_of(generation: Generation, follower: Follower, *, is_streaming: bool) -> dict[str, AttributeValue]:
    """What the conventions and we say of a request that was dispatched or at least tokenized."""
    job = generation.job
    found = _of_answer(follower.request_id, job.spec.name, job.sampling, generation.usage(), follower.cache)
    found |= {
        semconv.GEN_AI_REQUEST_STREAM: is_streaming,
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: generation.finish_reasons(),
        semconv.PENSTOCK_TENANT: job.tenant,
        semconv.PENSTOCK_NUM_RESUMED: generation.num_resumed,
        **_time_to_first_chunk(follower.timeline),
    }
    if follower.has_joined:
        found[semconv.PENSTOCK_JOINED_REQUEST] = job.request_id
    if generation.replica is not None:
        found[semconv.PENSTOCK_REPLICA] = generation.replica.replica_id
        found[semconv.PENSTOCK_ROUTING_REASON] = generation.routing_reason
    return found


def attributes_of_hit(
    started: Started, answer: StoredAnswer, timeline: Timeline, *, tenant: str, is_streaming: bool
) -> dict[str, AttributeValue]:
    """The same of a request whose answer was there already."""
    found = _of_answer(started.request_id, started.model, started.sampling, answer.usage, started.cache)
    return found | {
        semconv.GEN_AI_REQUEST_STREAM: is_streaming,
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: [choice.finish_reason.name.lower() for choice in answer.choices],
        semconv.PENSTOCK_TENANT: tenant,
        semconv.PENSTOCK_ROUTING_REASON: started.routing_reason,
        **_time_to_first_chunk(timeline),
    }


def _of_answer(
    request_id: str, model: str, sampling: ResolvedSampling, usage: Usage, cache: CacheReport
) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        semconv.GEN_AI_REQUEST_MAX_TOKENS: sampling.max_tokens,
        semconv.GEN_AI_REQUEST_TEMPERATURE: sampling.temperature,
        semconv.GEN_AI_REQUEST_TOP_P: sampling.top_p,
        semconv.GEN_AI_REQUEST_TOP_K: sampling.top_k,
        semconv.GEN_AI_REQUEST_CHOICE_COUNT: sampling.n,
        semconv.GEN_AI_RESPONSE_ID: request_id,
        semconv.GEN_AI_RESPONSE_MODEL: model,
        semconv.GEN_AI_USAGE_INPUT_TOKENS: usage.prompt_tokens,
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS: usage.completion_tokens,
        semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_prompt_tokens,
        **_of_cache(cache),
    }
    if sampling.seed <= _LARGEST_ATTRIBUTE:
        found[semconv.GEN_AI_REQUEST_SEED] = sampling.seed
    if sampling.stop:
        found[semconv.GEN_AI_REQUEST_STOP_SEQUENCES] = sampling.stop
    return found


def _of_cache(report: CacheReport) -> dict[str, AttributeValue]:
    numbers = {
        semconv.PENSTOCK_CACHE_MAX_ERROR_RATE: report.max_error_rate,
        semconv.PENSTOCK_CACHE_SCORE: report.score,
        semconv.PENSTOCK_CACHE_SIMILARITY: report.similarity,
        semconv.PENSTOCK_CACHE_ERROR_BOUND: report.error_bound,
    }
    return {
        semconv.PENSTOCK_CACHE_OUTCOME: report.outcome.name.lower(),
        semconv.PENSTOCK_CACHE_REASON: report.reason,
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _time_to_first_chunk(timeline: Timeline) -> dict[str, AttributeValue]:
    if timeline.first_sent_ns is None:
        return {}
    return {semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: (timeline.first_sent_ns - timeline.arrived_ns) / 1e9}
