"""The way of a request through the gateway: validate, admit, look up, tokenize, queue, stream, and one end."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from penstock_gateway.answer import Answer, FoundAnswer, GeneratedAnswer
from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.beside import beside
from penstock_gateway.cache.answer_cache import AnswerCache
from penstock_gateway.cache.cache_client import Finding
from penstock_gateway.cache.planner import CachePlanner, CacheUse
from penstock_gateway.cache.stored_answer import StoredAnswer, answer_of, events_of
from penstock_gateway.capabilities import Limits
from penstock_gateway.constraints.checker import ConstraintChecker
from penstock_gateway.dispatch.single_flight import SingleFlight
from penstock_gateway.events import CacheOutcome, CacheReport, Started, Usage
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation, Job
from penstock_gateway.identity.tenants import Tenants
from penstock_gateway.interruption import Interruption
from penstock_gateway.models import ModelCatalog
from penstock_gateway.quotas.admission import Admission
from penstock_gateway.quotas.rate_limiter import RateLimiter
from penstock_gateway.requests import GenerationRequest, Input
from penstock_gateway.running_request import Identifiers, RunningRequest
from penstock_gateway.sampling import ResolvedSampling, resolve_sampling
from penstock_gateway.telemetry.metrics import GatewayMetrics
from penstock_gateway.telemetry.observation import error_name, observe
from penstock_gateway.telemetry.request_spans import RequestTrace, operation_of
from penstock_gateway.text.tokenizer_client import TokenizerClient
from penstock_gateway.text.vocabulary import VocabularyStore
from penstock_gateway.timeline import Timeline
from penstock_gateway.validation import (
    check_prompt_length,
    estimate_prompt_tokens,
    validate_input,
    validate_request,
)
from penstock_shared.constraint import Constraint
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import ResourceExhaustedError
from penstock_shared.tracing import Tracer, current_trace

_MAX_WHOLE_ANSWER_BYTES = 8 << 20
_RETRY_AFTER_OVERFLOW_S = 1.0
_JOINED = CacheReport(CacheOutcome.JOINED, "an equal request was being answered")


class Pipeline:
    """Takes requests through all their stages.

    Args:
        models: what can be asked for.
        limits: bounds of one request.
        admission: bounds of all requests.
        tenants: what each tenant may do.
        rates: what each tenant uses a minute.
        tokenizer: encodes prompts.
        vocabularies: for decoding outputs.
        constraints: tries out what outputs are to conform to.
        flights: runs generations, one for equal requests.
        planner: decides what the cache may do.
        cache: finds and keeps answers.
        tracer: records the spans.
        metrics: counts.
        identifiers: names and numbers for new requests.
        client_buffer_bytes: most output that may wait for one client to read it.
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
        vocabularies: VocabularyStore,
        constraints: ConstraintChecker,
        flights: SingleFlight,
        planner: CachePlanner,
        cache: AnswerCache,
        tracer: Tracer,
        metrics: GatewayMetrics,
        identifiers: Identifiers,
        client_buffer_bytes: int,
        cache_salt: Callable[[str], bytes],
    ) -> None:
        self._models = models
        self._limits = limits
        self._admission = admission
        self._tenants = tenants
        self._rates = rates
        self._tokenizer = tokenizer
        self._vocabularies = vocabularies
        self._constraints = constraints
        self._flights = flights
        self._planner = planner
        self._cache = cache
        self._tracer = tracer
        self._metrics = metrics
        self._identifiers = identifiers
        self._client_buffer_bytes = client_buffer_bytes
        self._cache_salt = cache_salt

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
                    yield await self._begin(request, held, interruption)
            self._keep(request)
        except BaseException as error:
            request.error = error_name(error)
            raise
        finally:
            request.timeline.ended()
            observe(request, self._tracer, self._metrics)

    async def count_tokens(
        self, model: str, given: Input | None, *, tenant: str, deadline: Deadline
    ) -> tuple[ModelSpec, int]:
        """The model that is meant, and how many tokens the input comes to. Counts as a request of `tenant`."""
        spec = self._models.resolve(model, field="model")
        checked = validate_input(given, spec, self._limits, field="input")
        self._rates.account(tenant).take_request()
        async with Interruption(deadline):
            return spec, len(await self._tokenizer.encode(checked, spec, deadline, field="input"))

    def _arrive(
        self, asked: GenerationRequest, tenant: str, deadline: Deadline, *, is_streaming: bool
    ) -> RunningRequest:
        return RunningRequest(
            asked=self._tenants.capped(asked, tenant),
            tenant=tenant,
            deadline=deadline,
            is_streaming=is_streaming,
            request_id=self._identifiers.new_request_id(),
            operation=operation_of(asked),
            timeline=Timeline.begin(time.monotonic_ns, time.time_ns),
            trace=RequestTrace.begin(self._tracer, current_trace.get()),
        )

    async def _begin(self, request: RunningRequest, held: ExitStack, interruption: Interruption) -> Answer:
        """Everything up to the queue, or to a found answer. What it takes, it leaves in `held` to be given back."""
        asked = request.asked
        spec, given = validate_request(asked, self._models, self._limits)
        held.enter_context(self._models.using(spec))
        request.model = spec.name
        num_tokens = estimate_prompt_tokens(given)
        account = self._rates.account(request.tenant)
        account.check(num_tokens)
        ticket = self._admission.admit(request.tenant, asked.criticality, num_tokens)
        held.callback(self._admission.release, ticket)
        charge = account.start(num_tokens)
        held.callback(charge.settle, 0)  # what is found, joined or fails before it is generated costs no tokens
        request.timeline.admitted()
        use = request.cache = self._planner.plan(asked, spec, request.tenant)
        request.flight_key = use.flight_key
        buffer = self._make_buffer(interruption, is_streaming=request.is_streaming)
        begun = self._flights.find(request.flight_key)
        if begun is not None:
            return self._join(begun, request, buffer, held)
        finding, ids = await self._look_up_and_tokenize(given, spec, request, use)
        if finding.answer is not None:
            return self._found(request, spec, finding.report, finding.answer)
        request.exploration_token = finding.exploration_token
        self._admission.settle(ticket, len(ids))
        vocabulary = await self._vocabularies.get(spec)
        begun = self._flights.find(request.flight_key)  # by an equal request, meanwhile
        if begun is not None:
            return self._join(begun, request, buffer, held)
        charge.settle(len(ids))
        generation = Generation(
            self._job(request, spec, ids),
            vocabulary=vocabulary,
            new_sequence_id=self._identifiers.new_sequence_id,
            meter=account.output_meter(),
        )
        follower = self._follow(generation, request, finding.report, buffer, held)
        self._flights.begin(request.flight_key, generation, follower)
        return GeneratedAnswer(generation, follower, is_streaming=request.is_streaming)

    def _join(self, begun: Generation, request: RunningRequest, buffer: AnswerBuffer, held: ExitStack) -> Answer:
        """Takes a share of what is being generated already."""
        follower = self._follow(begun, request, _JOINED, buffer, held)
        self._flights.join(begun, follower)
        return GeneratedAnswer(begun, follower, is_streaming=request.is_streaming)

    def _follow(
        self,
        generation: Generation,
        request: RunningRequest,
        report: CacheReport,
        buffer: AnswerBuffer,
        held: ExitStack,
    ) -> Follower:
        """A request's share of a generation. It is given up however the request ends."""
        self._metrics.observe_cache(report)
        request.timeline.tokenized()
        follower = Follower(
            request_id=request.request_id,
            criticality=request.asked.criticality,
            deadline=request.deadline,
            trace=request.trace.request,
            cache=report,
            timeline=request.timeline,
            buffer=buffer,
            is_returning_token_ids=request.asked.is_returning_token_ids,
        )
        request.generation, request.follower = generation, follower
        held.callback(self._leave, request, generation, follower)
        return follower

    def _leave(self, request: RunningRequest, generation: Generation, follower: Follower) -> None:
        if self._flights.leave(request.flight_key, generation, follower):
            self._metrics.observe_generation(generation, operation=request.operation)

    async def _look_up_and_tokenize(
        self, given: Input, spec: ModelSpec, request: RunningRequest, use: CacheUse
    ) -> tuple[Finding, Sequence[int]]:
        """Both at once. An exact hit does not wait for token ids: the very same prompt had them once.

        Another wording's answer must not serve a prompt that would be refused, and the prompt's tokens are counted.
        """
        if use.report is not None:
            return Finding(use.report), await self._prepare(given, spec, request)
        async with beside(self._prepare(given, spec, request)) as preparing:
            finding = await self._look_up(request, use)
            if finding.answer is None:
                return finding, await preparing
            if finding.report.outcome is CacheOutcome.EXACT_HIT:
                return finding, ()
            ids = await preparing
            request.timeline.tokenized()
            usage = Usage(len(ids), finding.answer.usage.completion_tokens, cached_prompt_tokens=0)
            return replace(finding, answer=replace(finding.answer, usage=usage)), ids

    async def _look_up(self, request: RunningRequest, use: CacheUse) -> Finding:
        """The cache's answer. Calls to the cache belong to the cache span."""
        request.timeline.looking()
        outer = current_trace.set(request.trace.cache)
        try:
            finding = await self._cache.look_up(use)
        finally:
            current_trace.reset(outer)
        request.timeline.looked_up(is_found=finding.answer is not None)
        self._metrics.observe_lookup(finding.report, request.timeline)
        return finding

    def _found(self, request: RunningRequest, spec: ModelSpec, report: CacheReport, answer: StoredAnswer) -> Answer:
        self._metrics.observe_cache(report)
        started = Started(
            request_id=request.request_id,
            model=spec.name,
            model_revision=answer.model_revision,
            replica="",
            routing_reason="cache",
            cache=report,
            sampling=self._sampling(request, spec, answer.usage.prompt_tokens),
            trace_id=request.trace.request.trace_id_hex,
            prompt_tokens=answer.usage.prompt_tokens,
        )
        request.hit = started, answer
        events = events_of(answer, started, is_returning_token_ids=request.asked.is_returning_token_ids)
        return FoundAnswer(events, answer.usage, request.timeline, is_streaming=request.is_streaming)

    def _keep(self, request: RunningRequest) -> None:
        """An answer goes to the cache when the first of its clients has all of it, and with each that explores."""
        generation, use = request.generation, request.cache
        if generation is None or use is None or use.key is None:
            return
        if not generation.is_kept or request.exploration_token:
            generation.is_kept = True
            self._cache.keep(use, answer_of(generation), request.trace.request, request.exploration_token)

    async def _prepare(self, given: Input, spec: ModelSpec, request: RunningRequest) -> Sequence[int]:
        """The prompt's ids. Meanwhile the constraint is tried out; either can refuse the request."""
        constraint = request.asked.constraint
        if constraint is None:
            return await self._tokenize(given, spec, request)
        async with beside(self._try_out(constraint, spec, request.tenant)) as trial:
            ids = await self._tokenize(given, spec, request)
            await trial
            return ids

    async def _try_out(self, constraint: Constraint, spec: ModelSpec, tenant: str) -> None:
        vocabulary = await self._vocabularies.get(spec)
        await self._constraints.check(constraint, spec, vocabulary, field="request.constraint", tenant=tenant)

    async def _tokenize(self, given: Input, spec: ModelSpec, request: RunningRequest) -> Sequence[int]:
        """The prompt's ids. Calls to the tokenizer belong to the tokenize span."""
        outer = current_trace.set(request.trace.tokenize)
        try:
            ids = await self._tokenizer.encode(given, spec, request.deadline, field="request.input")
        finally:
            current_trace.reset(outer)
        check_prompt_length(len(ids), spec, field="request.input")
        return ids

    def _sampling(self, request: RunningRequest, spec: ModelSpec, num_prompt_tokens: int) -> ResolvedSampling:
        return resolve_sampling(
            request.asked.sampling,
            spec.sampling_defaults,
            tokens_left=spec.context_length - num_prompt_tokens,
            max_output_tokens=self._limits.max_output_tokens,
            draw_seed=self._identifiers.draw_seed,
        )

    def _job(self, request: RunningRequest, spec: ModelSpec, ids: Sequence[int]) -> Job:
        return Job(
            request_id=request.request_id,
            spec=spec,
            prompt_token_ids=ids,
            sampling=self._sampling(request, spec, len(ids)),
            constraint=request.asked.constraint,
            tenant=request.tenant,
            criticality=request.asked.criticality,
            deadline=request.deadline,
            trace=request.trace.request,
            cache_salt=self._cache_salt(request.tenant),
            adapter=request.asked.adapter,
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
