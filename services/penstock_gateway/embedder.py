"""The way of an `Embed` request through the gateway: each input is a generation of its own; all have one end."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.capabilities import Limits
from penstock_gateway.dispatch.single_flight import SingleFlight
from penstock_gateway.events import CacheOutcome, CacheReport, Embedded, Usage
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation, Job
from penstock_gateway.identity.tenants import Tenants
from penstock_gateway.interruption import Interruption
from penstock_gateway.models import ModelCatalog
from penstock_gateway.quotas.admission import Admission
from penstock_gateway.quotas.rate_limiter import RateLimiter
from penstock_gateway.requests import EmbedRequest, Input, SamplingRequest
from penstock_gateway.running_embedding import RunningEmbedding
from penstock_gateway.running_request import Identifiers
from penstock_gateway.sampling import resolve_sampling
from penstock_gateway.telemetry.embedding_observation import observe_embedding
from penstock_gateway.telemetry.metrics import GatewayMetrics
from penstock_gateway.telemetry.observation import error_name
from penstock_gateway.telemetry.request_spans import RequestTrace
from penstock_gateway.text.tokenizer_client import TokenizerClient
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_gateway.timeline import Timeline
from penstock_gateway.validation import check_prompt_length, estimate_prompt_tokens, validate_input
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import InternalError, InvalidArgumentError
from penstock_shared.tracing import Tracer, current_trace

T = TypeVar("T")

_CONCURRENT_ENCODINGS = 16
_NOT_CACHED = CacheReport(CacheOutcome.BYPASSED, "embeddings are not kept")
_NO_VOCABULARY = Vocabulary("", ())  # there is no output to decode
_EMBEDDED_TOKENS = SamplingRequest(temperature=0.0, max_tokens=1, seed=0)


class Embedder:
    """Takes `Embed` requests through the same stages as generations: admission, tokenizing, fair queue, dispatch.

    Args:
        models: what can be asked for.
        limits: bounds of one request.
        admission: bounds of all requests.
        tenants: what each tenant may do.
        rates: what each tenant uses a minute.
        tokenizer: encodes the inputs.
        flights: runs the work.
        tracer: records the spans.
        metrics: counts.
        identifiers: names and numbers for new requests.
        cache_salt: of a tenant; see `Job.cache_salt`.
    """

    def __init__(
        self,
        *,
        models: ModelCatalog,
        limits: Limits,
        admission: Admission,
        tenants: Tenants,
        rates: RateLimiter,
        tokenizer: TokenizerClient,
        flights: SingleFlight,
        tracer: Tracer,
        metrics: GatewayMetrics,
        identifiers: Identifiers,
        cache_salt: Callable[[str], bytes],
    ) -> None:
        self._models = models
        self._limits = limits
        self._admission = admission
        self._tenants = tenants
        self._rates = rates
        self._tokenizer = tokenizer
        self._flights = flights
        self._tracer = tracer
        self._metrics = metrics
        self._identifiers = identifiers
        self._cache_salt = cache_salt

    async def embed(
        self, asked: EmbedRequest, *, tenant: str, deadline: Deadline
    ) -> tuple[list[Sequence[float]], Usage]:
        """The vectors of all inputs, in their order, and the tokens that they took.

        Raises:
            PenstockError: the request is refused, or an input fails; then nothing of it goes on.
        """
        request = RunningEmbedding(
            asked=self._tenants.capped(asked, tenant),
            tenant=tenant,
            deadline=deadline,
            request_id=self._identifiers.new_request_id(),
            timeline=Timeline.begin(time.monotonic_ns, time.time_ns),
            trace=RequestTrace.begin(self._tracer, current_trace.get()),
        )
        try:
            async with Interruption(deadline):
                with ExitStack() as held:
                    return await self._embed(request, held)
        except BaseException as error:
            request.error = error_name(error)
            raise
        finally:
            request.timeline.ended()
            observe_embedding(request, self._tracer, self._metrics)

    async def _embed(self, request: RunningEmbedding, held: ExitStack) -> tuple[list[Sequence[float]], Usage]:
        asked, account = request.asked, self._rates.account(request.tenant)
        spec, inputs = self._validate(asked)
        held.enter_context(self._models.using(spec))
        request.model = spec.name
        num_tokens = sum(map(estimate_prompt_tokens, inputs))
        account.check(num_tokens)
        ticket = self._admission.admit(request.tenant, asked.criticality, num_tokens)
        held.callback(self._admission.release, ticket)
        charge = account.start(num_tokens)
        held.callback(charge.settle, 0)  # what fails before it is computed costs no tokens
        request.timeline.admitted()
        prompts = await self._tokenize(inputs, spec, request)
        request.timeline.tokenized()
        num_tokens = sum(map(len, prompts))
        self._admission.settle(ticket, num_tokens)
        charge.settle(num_tokens)
        request.usage = Usage(num_tokens, 0, 0)
        jobs = [self._job(request, spec, ids, index) for index, ids in enumerate(prompts)]
        buffers = [self._start(job, request, held) for job in jobs]
        return await _all_of([asyncio.ensure_future(_vector(buffer)) for buffer in buffers]), request.usage

    def _validate(self, asked: EmbedRequest) -> tuple[ModelSpec, list[Input]]:
        spec = self._models.resolve(asked.model, field="model")
        if not asked.inputs:
            raise InvalidArgumentError("inputs", "0 entries", f"1 to {self._limits.max_embed_inputs} entries")
        fields = ((f"inputs[{index}]", given) for index, given in enumerate(asked.inputs))
        return spec, [validate_input(given, spec, self._limits, field=field) for field, given in fields]

    async def _tokenize(
        self, inputs: Sequence[Input], spec: ModelSpec, request: RunningEmbedding
    ) -> list[Sequence[int]]:
        """The inputs' ids, some at a time. Calls to the tokenizer belong to the tokenize span."""
        prompts: list[Sequence[int]] = []
        outer = current_trace.set(request.trace.tokenize)
        try:
            for begin in range(0, len(inputs), _CONCURRENT_ENCODINGS):
                part = enumerate(inputs[begin : begin + _CONCURRENT_ENCODINGS], begin)
                tasks = [asyncio.ensure_future(self._encode(given, spec, request, index)) for index, given in part]
                prompts += await _all_of(tasks)
        finally:
            current_trace.reset(outer)
        return prompts

    async def _encode(self, given: Input, spec: ModelSpec, request: RunningEmbedding, index: int) -> Sequence[int]:
        ids = await self._tokenizer.encode(given, spec, request.deadline, field=f"inputs[{index}]")
        check_prompt_length(len(ids), spec, field=f"inputs[{index}]")
        return ids

    def _job(self, request: RunningEmbedding, spec: ModelSpec, ids: Sequence[int], index: int) -> Job:
        return Job(
            request_id=f"{request.request_id}-{index}",
            spec=spec,
            prompt_token_ids=ids,
            sampling=resolve_sampling(
                _EMBEDDED_TOKENS, spec.sampling_defaults, tokens_left=1, max_output_tokens=1, draw_seed=int
            ),
            tenant=request.tenant,
            criticality=request.asked.criticality,
            deadline=request.deadline,
            trace=request.trace.request,
            cache_salt=self._cache_salt(request.tenant),
            embedding=request.asked.options,
        )

    def _start(self, job: Job, request: RunningEmbedding, held: ExitStack) -> AnswerBuffer:
        """Queues one input; it is given up however the request ends."""
        buffer = AnswerBuffer(is_streaming=False, max_bytes=0, on_overflow=lambda: None)  # it grows by one event
        generation = Generation(job, vocabulary=_NO_VOCABULARY, new_sequence_id=self._identifiers.new_sequence_id)
        follower = Follower(
            request_id=job.request_id,
            criticality=job.criticality,
            deadline=job.deadline,
            trace=job.trace,
            cache=_NOT_CACHED,
            timeline=request.timeline,
            buffer=buffer,
            is_returning_token_ids=False,
        )
        held.callback(self._flights.leave, None, generation, follower)
        self._flights.begin(None, generation, follower)
        return buffer


async def _vector(buffer: AnswerBuffer) -> Sequence[float]:
    events = await buffer.next_events()
    vectors = [event.values for event in events if isinstance(event, Embedded)]
    if len(vectors) != 1:
        raise InternalError("the replica gave no embedding")
    return vectors[0]


async def _all_of(tasks: Sequence[asyncio.Future[T]]) -> list[T]:
    """The results; where one fails, the others are stopped."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
