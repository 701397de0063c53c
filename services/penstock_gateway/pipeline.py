"""The way of a request through the gateway: validate, admit, tokenize, queue, stream, and an end that is told once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from penstock_gateway.admission import Admission
from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.capabilities import Limits
from penstock_gateway.dispatcher import Dispatcher
from penstock_gateway.events import CacheOutcome, CacheReport, Delta, Event, Final
from penstock_gateway.generation import Generation, Job
from penstock_gateway.interruption import Interruption
from penstock_gateway.metrics import GatewayMetrics
from penstock_gateway.models import ModelCatalog
from penstock_gateway.request_spans import RequestTrace, attributes_of, operation_of, record_request
from penstock_gateway.requests import CacheMode, GenerationRequest, Input
from penstock_gateway.sampling import resolve_sampling
from penstock_gateway.timeline import Timeline
from penstock_gateway.tokenizer_client import TokenizerClient
from penstock_gateway.validation import (
    check_prompt_length,
    estimate_prompt_tokens,
    validate_input,
    validate_request,
)
from penstock_gateway.vocabulary import VocabularyStore
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import PenstockError, ResourceExhaustedError
from penstock_shared.tracing import AttributeValue, Tracer, current_trace

_MAX_WHOLE_ANSWER_BYTES = 8 << 20
_RETRY_AFTER_OVERFLOW_S = 1.0
# The label of requests that named no model we know: a caller's text must not make labels.
_UNKNOWN_MODEL = "unknown"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Where the names and numbers of new requests come from."""

    new_request_id: Callable[[], str]
    new_sequence_id: Callable[[], int]
    draw_seed: Callable[[], int]


class Answer:
    """What the reader of a running request sees."""

    def __init__(self, generation: Generation, buffer: AnswerBuffer, timeline: Timeline, *, is_streaming: bool) -> None:
        self._generation = generation
        self._buffer = buffer
        self._timeline = timeline
        self._is_streaming = is_streaming

    async def next_events(self) -> list[Event]:
        """The next events; empty when all choices have finished.

        Raises:
            PenstockError: the request failed.
        """
        events = await self._buffer.next_events()
        if self._is_streaming and any(isinstance(event, Delta) for event in events):
            self._timeline.sent()
        return events

    def final(self) -> Final:
        """The last event, when there are no others."""
        return self._generation.final()


@dataclass(slots=True)
class _Request:
    """One request on its way: what its end will be told with."""

    asked: GenerationRequest
    tenant: str
    deadline: Deadline
    is_streaming: bool
    request_id: str
    operation: str
    timeline: Timeline
    trace: RequestTrace
    model: str = _UNKNOWN_MODEL
    generation: Generation | None = None
    error: str | None = None


class Pipeline:
    """Takes requests through all their stages.

    Args:
        models: what can be asked for.
        limits: bounds of one request.
        admission: bounds of all requests.
        tokenizer: encodes prompts.
        vocabularies: for decoding outputs.
        dispatcher: finds replicas.
        tracer: records the spans.
        metrics: counts.
        identifiers: names and numbers for new requests.
        client_buffer_bytes: most output that may wait for one client to read it.
    """

    def __init__(
        self,
        *,
        models: ModelCatalog,
        limits: Limits,
        admission: Admission,
        tokenizer: TokenizerClient,
        vocabularies: VocabularyStore,
        dispatcher: Dispatcher,
        tracer: Tracer,
        metrics: GatewayMetrics,
        identifiers: Identifiers,
        client_buffer_bytes: int,
    ) -> None:
        self._models = models
        self._limits = limits
        self._admission = admission
        self._tokenizer = tokenizer
        self._vocabularies = vocabularies
        self._dispatcher = dispatcher
        self._tracer = tracer
        self._metrics = metrics
        self._identifiers = identifiers
        self._client_buffer_bytes = client_buffer_bytes

    @asynccontextmanager
    async def answer(
        self, asked: GenerationRequest, *, tenant: str, deadline: Deadline, is_streaming: bool
    ) -> AsyncIterator[Answer]:
        """Starts a request, and ends it however the block is left: nothing of it goes on behind the caller's back.

        Args:
            asked: the request, unchecked.
            tenant: who asks.
            deadline: the client's or the service's, whichever is earlier.
            is_streaming: hand out events as they come; else all at the end.

        Raises:
            PenstockError: the request is refused or fails; also inside the block.
        """
        request = self._arrive(asked, tenant, deadline, is_streaming=is_streaming)
        try:
            async with Interruption(deadline) as interruption:
                with ExitStack() as held:
                    generation, buffer = await self._prepare(request, held, interruption)
                    held.callback(self._dispatcher.retire, generation)
                    self._dispatcher.enqueue(generation)
                    yield Answer(generation, buffer, request.timeline, is_streaming=is_streaming)
        except BaseException as error:
            request.error = _error_name(error)
            raise
        finally:
            request.timeline.ended()
            self._observe(request)

    async def count_tokens(self, model: str, given: Input | None, deadline: Deadline) -> tuple[ModelSpec, int]:
        """The model that is meant, and how many tokens the input comes to."""
        spec = self._models.resolve(model, field="model")
        checked = validate_input(given, spec, self._limits, field="input")
        async with Interruption(deadline):
            return spec, len(await self._tokenizer.encode(checked, spec, deadline))

    def _arrive(self, asked: GenerationRequest, tenant: str, deadline: Deadline, *, is_streaming: bool) -> _Request:
        return _Request(
            asked=asked,
            tenant=tenant,
            deadline=deadline,
            is_streaming=is_streaming,
            request_id=self._identifiers.new_request_id(),
            operation=operation_of(asked),
            timeline=Timeline.begin(time.monotonic_ns, time.time_ns),
            trace=RequestTrace.begin(self._tracer, current_trace.get()),
        )

    async def _prepare(
        self, request: _Request, held: ExitStack, interruption: Interruption
    ) -> tuple[Generation, AnswerBuffer]:
        """Everything before the queue. What it takes, it leaves in `held` to be given back."""
        asked = request.asked
        spec, given = validate_request(asked, self._models, self._limits)
        request.model = spec.name
        ticket = self._admission.admit(request.tenant, asked.criticality, estimate_prompt_tokens(given))
        held.callback(self._admission.release, ticket)
        request.timeline.admitted()
        ids = await self._tokenize(given, spec, request)
        self._admission.settle(ticket, len(ids))
        vocabulary = await self._vocabularies.get(spec)
        request.timeline.tokenized()
        buffer = self._make_buffer(interruption, is_streaming=request.is_streaming)
        request.generation = Generation(
            self._job(request, spec, ids),
            vocabulary=vocabulary,
            buffer=buffer,
            timeline=request.timeline,
            cache=_cache_report(asked),
            new_sequence_id=self._identifiers.new_sequence_id,
            is_returning_token_ids=asked.is_returning_token_ids,
        )
        return request.generation, buffer

    async def _tokenize(self, given: Input, spec: ModelSpec, request: _Request) -> Sequence[int]:
        """The prompt's ids. Calls to the tokenizer belong to the tokenize span."""
        outer = current_trace.set(request.trace.tokenize)
        try:
            ids = await self._tokenizer.encode(given, spec, request.deadline)
        finally:
            current_trace.reset(outer)
        check_prompt_length(len(ids), spec, field="request.input")
        return ids

    def _job(self, request: _Request, spec: ModelSpec, ids: Sequence[int]) -> Job:
        sampling = resolve_sampling(
            request.asked.sampling,
            spec.sampling_defaults,
            tokens_left=spec.context_length - len(ids),
            max_output_tokens=self._limits.max_output_tokens,
            draw_seed=self._identifiers.draw_seed,
        )
        return Job(
            request_id=request.request_id,
            spec=spec,
            prompt_token_ids=ids,
            sampling=sampling,
            tenant=request.tenant,
            criticality=request.asked.criticality,
            deadline=request.deadline,
            trace=request.trace.request,
        )

    def _make_buffer(self, interruption: Interruption, *, is_streaming: bool) -> AnswerBuffer:
        bound, quota = (
            (self._client_buffer_bytes, "client_buffer_bytes")
            if is_streaming
            else (_MAX_WHOLE_ANSWER_BYTES, "answer_bytes")
        )
        told = "the client does not read fast enough" if is_streaming else "the answer is too long for one message"
        error = ResourceExhaustedError(
            f"{told}: over {bound} bytes wait", quota=quota, retry_after_s=_RETRY_AFTER_OVERFLOW_S
        )
        return AnswerBuffer(
            is_streaming=is_streaming, max_bytes=bound, on_overflow=lambda: interruption.interrupt(error)
        )

    def _observe(self, request: _Request) -> None:
        """Counts and records a request that has ended."""
        timeline, generation, operation = request.timeline, request.generation, request.operation
        self._metrics.observe_request(timeline, operation=operation, model=request.model, error=request.error)
        attributes: dict[str, AttributeValue] = {}
        if generation is not None:
            self._metrics.observe_output(timeline, generation, operation=operation)
            attributes = attributes_of(generation, timeline, is_streaming=request.is_streaming)
        record_request(
            self._tracer,
            request.trace,
            timeline,
            operation=operation,
            model=request.model,
            attributes=attributes,
            error=request.error,
        )


def _cache_report(asked: GenerationRequest) -> CacheReport:
    if asked.cache.mode is CacheMode.USE:
        return CacheReport(CacheOutcome.SKIPPED, "no cache is configured")
    return CacheReport(CacheOutcome.BYPASSED, f"the request says {asked.cache.mode.name.lower()}")


def _error_name(error: BaseException) -> str:
    """`error.type`: the name of the status that the request ends with."""
    if isinstance(error, PenstockError):
        return error.code.name
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"
