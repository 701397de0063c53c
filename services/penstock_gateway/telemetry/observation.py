"""What is counted and recorded of a request when it has ended."""

import asyncio

from penstock_gateway.running_request import RunningRequest
from penstock_gateway.telemetry.metrics import GatewayMetrics
from penstock_gateway.telemetry.request_spans import attributes_of, attributes_of_hit, record_request
from penstock_shared.call_record import current_call
from penstock_shared.errors import PenstockError
from penstock_shared.tracing import AttributeValue, Tracer


def observe(request: RunningRequest, tracer: Tracer, metrics: GatewayMetrics) -> None:
    """Counts and records a request that has ended."""
    timeline, operation = request.timeline, request.operation
    generation, follower = request.generation, request.follower
    _note_for_audit(request)
    metrics.observe_request(timeline, operation=operation, model=request.model, error=request.error)
    if generation is not None and follower is not None and not follower.has_joined:
        metrics.observe_pace(timeline, generation, operation=operation)
    if request.trace.request.is_sampled:
        record_request(
            tracer,
            request.trace,
            timeline,
            operation=operation,
            model=request.model,
            attributes=_attributes(request),
            error=request.error,
        )


def _attributes(request: RunningRequest) -> dict[str, AttributeValue]:
    if request.generation is not None and request.follower is not None:
        return attributes_of(request.generation, request.follower, is_streaming=request.is_streaming)
    if request.hit is not None:
        started, answer = request.hit
        return attributes_of_hit(
            started, answer, request.timeline, tenant=request.tenant, is_streaming=request.is_streaming
        )
    return {}


def _note_for_audit(request: RunningRequest) -> None:
    call = current_call.get()
    if call is None:
        return
    call.request_id = request.request_id
    usage = request.usage()
    if usage is not None:
        call.prompt_tokens, call.completion_tokens = usage.prompt_tokens, usage.completion_tokens


def error_name(error: BaseException) -> str:
    """`error.type`: the name of the status that the request ends with."""
    if isinstance(error, PenstockError):
        return error.code.name
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"
