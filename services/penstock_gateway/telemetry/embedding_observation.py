"""What is counted and recorded of an `Embed` request when it has ended."""

from penstock_gateway.running_embedding import RunningEmbedding
from penstock_gateway.telemetry.metrics import GatewayMetrics
from penstock_gateway.telemetry.request_spans import record_request
from penstock_shared import semconv
from penstock_shared.call_record import current_call
from penstock_shared.tracing import AttributeValue, Tracer


def observe_embedding(request: RunningEmbedding, tracer: Tracer, metrics: GatewayMetrics) -> None:
    """Counts and records a request that has ended."""
    operation = semconv.OPERATION_EMBEDDINGS
    metrics.observe_request(request.timeline, operation=operation, model=request.model, error=request.error)
    call = current_call.get()
    if call is not None:
        call.request_id = request.request_id
    attributes: dict[str, AttributeValue] = {
        semconv.GEN_AI_RESPONSE_ID: request.request_id,
        semconv.PENSTOCK_TENANT: request.tenant,
    }
    if request.usage is not None:
        metrics.observe_tokens(request.usage, operation=operation, model=request.model)
        attributes[semconv.GEN_AI_USAGE_INPUT_TOKENS] = request.usage.prompt_tokens
        if call is not None:
            call.prompt_tokens, call.completion_tokens = request.usage.prompt_tokens, 0
    if request.trace.request.is_sampled:
        record_request(
            tracer,
            request.trace,
            request.timeline,
            operation=operation,
            model=request.model,
            attributes=attributes,
            error=request.error,
        )
