"""The engine: owns the sequences of one replica and advances them step by step.

Not thread-safe: one thread owns an engine. `step()` reads schedule, run, sample, apply.
"""

import math
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from penstock_shared.errors import (
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
)
from penstock_shared.logs import get_logger
from penstock_shared.prefix_chain import root_hash
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.constraint import Admitted, ConstraintGate, Verdict
from penstock_worker.engine.model_runner import StepLogits
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Vector
from penstock_worker.engine.sampler import SampledToken, Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import (
    FinishReason,
    Sequence,
    SequenceEnd,
    SequenceOutput,
    SequenceRequest,
    TokenLogprobs,
)
from penstock_worker.engine.speculation import Speculation, taken_tokens
from penstock_worker.engine.step_result import EngineStats, StepResult
from penstock_worker.engine.validation import EngineLimits, validate_request

_log = get_logger(__name__)


class StepRunner(Protocol):
    """What the engine needs of a model runner."""

    def run(self, plan: StepPlan) -> StepLogits:
        """Computes the plan's chunks into the KV cache and returns the logits of those that need them."""
        ...


class Engine:
    """Generates tokens for many sequences at once.

    Args:
        scheduler: decides what each step computes.
        runner: computes it.
        sampler: chooses the tokens.
        limits: what a sequence may ask for; consistent with the scheduler's and the runner's.
        vocab_size: token ids are below it.
        eos_token_ids: tokens that end every sequence that does not ignore them.
        revision: of the weights; part of the names of cached blocks.
        adapters: those that sequences may ask for; None: none.
        constraints: applies those of sequences; None: there is nothing here to apply them.
        speculation: drafts tokens; None: each step gives a sequence one.
        clock_ns: stamps the times of sequences and steps.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        runner: StepRunner,
        sampler: Sampler,
        limits: EngineLimits,
        vocab_size: int,
        eos_token_ids: frozenset[int],
        revision: str = "",
        adapters: AdapterTable | None = None,
        constraints: ConstraintGate | None = None,
        speculation: Speculation | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._limits = limits
        self._vocab_size = vocab_size
        self._eos_token_ids = eos_token_ids
        self._revision = revision
        self.adapters = adapters or AdapterTable()
        self._constraints = constraints
        self._speculation = speculation
        self._clock_ns = clock_ns
        self._sequences: dict[int, Sequence] = {}
        self._ended_at_add: dict[int, SequenceOutput] = {}
        self._num_added = 0
        self._num_steps = 0
        self._num_computed_tokens = 0
        self._num_generated_tokens = 0

    @property
    def limits(self) -> EngineLimits:
        """What the engine is sized for."""
        return self._limits

    @property
    def has_work(self) -> bool:
        """Whether `step()` has something to do."""
        return bool(self._sequences or self._ended_at_add)

    def validate(self, request: SequenceRequest) -> None:
        """Refuses what can never run here.

        Raises:
            InvalidArgumentError: names the field, what it held and what is allowed.
            NotFoundError: there is no such adapter.
            FailedPreconditionError: the adapter of that name is of another revision.
        """
        validate_request(request, self._limits, self._vocab_size)
        if request.adapter is not None:
            self.adapters.check(request.adapter, request.adapter_revision)
        if request.constraint is not None and self._constraints is None:
            needs = "none: they need a tokenizer.json and an end-of-sequence token"
            raise InvalidArgumentError("constraint", request.constraint.kind.value, needs)

    def add(self, request: SequenceRequest) -> None:
        """Takes a validated request. Its first tokens come out of one of the next steps."""
        if request.key in self._sequences or request.key in self._ended_at_add:
            raise ValueError(f"key {request.key} is in use")
        sequence = self._new_sequence(request)
        if sequence.is_full:  # resumed after its last token: only its end is still owed
            self._end_at_add(sequence, FinishReason.LENGTH)
            return
        try:
            self._take_adapter(sequence)
        except (NotFoundError, FailedPreconditionError) as error:  # unloaded since it was validated
            self._end_at_add(sequence, FinishReason.ERROR, error)
            return
        self._sequences[request.key] = sequence
        self._scheduler.add(sequence)
        if self._constraints is not None:
            self._constraints.open(sequence)

    def cancel(self, key: int) -> bool:
        """Removes a sequence and frees its blocks; it has no further output. False where it is not here (any more)."""
        if self._ended_at_add.pop(key, None) is not None:
            return True
        sequence = self._sequences.get(key)
        if sequence is None:
            return False
        self._forget(sequence)
        return True

    def step(self) -> StepResult:
        """Advances the sequences that fit into one step.

        An exception of the model ends all running sequences with ERROR; the engine goes on.
        """
        started_ns = self._clock_ns()
        self._num_steps += 1
        outputs = list(self._ended_at_add.values())
        self._ended_at_add.clear()
        plan = self._scheduler.schedule(started_ns)
        if self._speculation is not None:
            plan = self._speculation.extend(plan, self._sequences)
        if plan.chunks or self._num_held:
            outputs += self._run(plan)
        duration_s = (self._clock_ns() - started_ns) / 1e9
        if self._speculation is not None:
            self._speculation.took(plan, duration_s)
        changes = self._scheduler.take_prefix_changes()
        return StepResult(self._num_steps, duration_s, outputs, len(plan.chunks), changes)

    def stats(self) -> EngineStats:
        """The counters now."""
        prefix = self._scheduler.prefix_stats()
        return EngineStats(
            step=self._num_steps,
            num_running=self._scheduler.num_running,
            num_waiting=self._scheduler.num_waiting,
            num_blocks=self._limits.num_blocks,
            num_free_blocks=self._scheduler.num_free_blocks,
            num_preemptions=self._scheduler.num_preemptions,
            num_generated_tokens=self._num_generated_tokens,
            num_cached_blocks=prefix.num_cached_blocks,
            num_computed_tokens=self._num_computed_tokens,
            num_prefix_query_tokens=prefix.num_query_tokens,
            num_prefix_hit_tokens=prefix.num_hit_tokens,
            num_evicted_blocks=prefix.num_evicted_blocks,
            num_drafted_tokens=0 if self._speculation is None else self._speculation.num_drafted_tokens,
            num_accepted_tokens=0 if self._speculation is None else self._speculation.num_accepted_tokens,
        )

    def check_invariants(self) -> None:
        """Raises AssertionError where the books of scheduler and block pool do not agree. For tests and idle times."""
        self._scheduler.check_invariants()
        if self._scheduler.num_running + self._scheduler.num_waiting != len(self._sequences):
            raise AssertionError("the scheduler and the engine hold different sequences")

    def _new_sequence(self, request: SequenceRequest) -> Sequence:
        sampling = request.sampling
        eos_token_ids = frozenset() if sampling.ignore_eos else self._eos_token_ids
        max_total_tokens = len(request.prompt_token_ids) + sampling.max_tokens
        self._num_added += 1
        return Sequence(
            request=request,
            arrival=self._num_added,
            ending_token_ids=sampling.stop_token_ids | eos_token_ids,
            max_total_tokens=min(max_total_tokens, self._limits.context_length),
            queued_ns=self._clock_ns(),
            prefix_root=root_hash(cache_salt=request.cache_salt, revision=self._revision),
        )

    def _end_at_add(self, sequence: Sequence, reason: FinishReason, error: PenstockError | None = None) -> None:
        end = sequence.ended(reason, error=error)
        self._ended_at_add[sequence.key] = SequenceOutput(sequence.key, [], [], end)

    def _take_adapter(self, sequence: Sequence) -> None:
        """Keeps the sequence's adapter loaded, and its keys and values apart from those of others."""
        request = sequence.request
        if request.adapter is not None:
            sequence.adapter_id, spec = self.adapters.acquire(request.adapter, request.adapter_revision)
            sequence.prefix_root = root_hash(cache_salt=request.cache_salt, revision=self._revision, adapter=spec.key)

    def _release_adapter(self, sequence: Sequence) -> None:
        if sequence.adapter_id:
            self.adapters.release(sequence.adapter_id)

    @property
    def _num_held(self) -> int:
        """Sequences that lack nothing but their mask."""
        return 0 if self._constraints is None else self._constraints.num_held

    def _run(self, plan: StepPlan) -> list[SequenceOutput]:
        try:
            if self._constraints is not None:
                self._constraints.begin_step()
            logits = self._runner.run(plan) if plan.chunks else None
            admitted = self._admit(plan, logits)
            sampled = [] if admitted.logits is None else self._sampler.sample(admitted.logits, admitted.sequences)
        except Exception:  # noqa: BLE001 the boundary: whatever the model raises, the engine goes on
            _log.exception("engine step failed", num_sequences=len(plan.chunks))
            return [self._failed(sequence) for sequence in self._scheduler.running]
        now_ns = self._clock_ns()
        tokens: dict[int, list[SampledToken | PenstockError]] = {}
        for row, token in zip(admitted.sequences, sampled, strict=True):
            tokens.setdefault(row.key, []).append(token)
        self._keep_computed(plan.chunks, {key for key, found in tokens.items() if isinstance(found[0], PenstockError)})
        told = [] if logits is None else self._read_outputs(plan, logits)
        told += [self._judge(verdict) for verdict in admitted.verdicts]
        drafts = {chunk.key: chunk.drafts for chunk in plan.chunks}
        return told + [self._apply(key, drafts.get(key, array("q")), found, now_ns) for key, found in tokens.items()]

    def _read_outputs(self, plan: StepPlan, logits: StepLogits) -> list[SequenceOutput]:
        """What a step gives besides tokens: scores of prompts, embeddings."""
        scored = [self._score(*item) for item in logits.prompt_scores.items()]
        embedded = [self._embed(chunk, logits.pooled[chunk.key]) for chunk in plan.chunks if chunk.pooling is not None]
        return scored + [output for output in embedded if output is not None]

    def _keep_computed(self, chunks: list[Chunk], failed_keys: set[int]) -> None:
        """Has what a step computed found by others, except of sequences that failed in it."""
        for chunk in chunks:
            self._num_computed_tokens += len(chunk.token_ids)
            if chunk.key not in failed_keys:
                self._scheduler.keep_computed(self._sequences[chunk.key])

    def _embed(self, chunk: Chunk, pooled: Vector) -> SequenceOutput | None:
        """Takes in a chunk's vectors; the embedding with the last chunk."""
        sequence = self._sequences[chunk.key]
        assert sequence.pooled is not None, "only an embedding's chunks are pooled"
        sequence.pooled.take(pooled, chunk.start)
        if sequence.num_uncomputed_tokens:
            return None
        vector = sequence.pooled.finish(len(sequence.token_ids))
        if not all(map(math.isfinite, vector)):
            return self._end(sequence, FinishReason.ERROR, error=InternalError("the embedding is not finite"))
        return SequenceOutput(sequence.key, [], [], self._end(sequence, FinishReason.STOP).end, embedding=vector)

    def _admit(self, plan: StepPlan, logits: StepLogits | None) -> Admitted:
        """What can be sampled: all rows, or those whose constraints have their masks."""
        sampling = [row for chunk in plan.chunks if chunk.num_logits_rows for row in self._rows(chunk)]
        values = None if logits is None else logits.values
        if self._constraints is None:
            return Admitted(values, sampling, [])
        return self._constraints.admit(values, sampling)

    def _rows(self, chunk: Chunk) -> Iterator[Sequence]:
        """For each row of logits, the sequence as it is before the token to be sampled."""
        sequence, drafts = self._sequences[chunk.key], chunk.drafts
        yield sequence
        for num_drafts in range(1, len(drafts) + 1):
            yield sequence.with_drafts(drafts[:num_drafts])

    def _judge(self, verdict: Verdict) -> SequenceOutput:
        """A grammar is at its end, or fails, which says nothing against what was computed."""
        reason = FinishReason.STOP if verdict.error is None else FinishReason.ERROR
        self._forget(verdict.sequence)
        return SequenceOutput(verdict.sequence.key, [], [], verdict.sequence.ended(reason, error=verdict.error))

    def _score(self, key: int, scores: list[TokenLogprobs]) -> SequenceOutput:
        self._sequences[key].num_scored_tokens += len(scores)
        return SequenceOutput(key, [], [], None, scores)

    def _apply(
        self, key: int, drafts: "array[int]", sampled: list[SampledToken | PenstockError], now_ns: int
    ) -> SequenceOutput:
        """Gives a sequence what was sampled for it, as far as its drafts were right."""
        sequence, taken = self._sequences[key], list(taken_tokens(drafts, sampled))
        num_right = len(taken) - 1
        if self._speculation is not None and drafts:
            self._speculation.judged(sequence, len(drafts), num_right)
        output = SequenceOutput(key, [], [], None)
        for token in taken:
            end = self._take(sequence, token, output, now_ns)
            if end is not None:
                return replace(output, end=end)
        if drafts:
            sequence.num_computed_tokens += num_right
            self._scheduler.take_back(sequence, sequence.num_computed_tokens)
        return output

    def _take(
        self, sequence: Sequence, token: SampledToken | PenstockError, output: SequenceOutput, now_ns: int
    ) -> SequenceEnd | None:
        """Adds one token to a sequence and to its output of this step; its end, where it ends with it."""
        if isinstance(token, PenstockError):
            return self._end(sequence, FinishReason.ERROR, error=token).end
        if token.token_id in sequence.ending_token_ids:
            return self._end(sequence, FinishReason.STOP, stop_token_id=token.token_id).end
        sequence.token_ids.append(token.token_id)
        sequence.first_token_ns = sequence.first_token_ns or now_ns
        self._num_generated_tokens += 1
        output.token_ids.append(token.token_id)
        if token.logprobs is not None:
            output.logprobs.append(token.logprobs)
        if sequence.is_full:
            return self._end(sequence, FinishReason.LENGTH).end
        if self._constraints is not None:
            self._constraints.advance(sequence, token.token_id)
        return None

    def _failed(self, sequence: Sequence) -> SequenceOutput:
        error = InternalError("the engine step failed")
        return self._end(sequence, FinishReason.ERROR, error=error)

    def _end(
        self,
        sequence: Sequence,
        reason: FinishReason,
        *,
        stop_token_id: int | None = None,
        error: PenstockError | None = None,
    ) -> SequenceOutput:
        self._forget(sequence, is_spoilt=reason is FinishReason.ERROR)
        end = sequence.ended(reason, stop_token_id=stop_token_id, error=error)
        return SequenceOutput(sequence.key, [], [], end)

    def _forget(self, sequence: Sequence, *, is_spoilt: bool = False) -> None:
        """It has left: nothing here belongs to it any more."""
        del self._sequences[sequence.key]
        self._scheduler.remove(sequence, is_spoilt=is_spoilt)
        self._release_adapter(sequence)
        if self._constraints is not None:
            self._constraints.close(sequence)
