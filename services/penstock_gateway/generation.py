"""The life of an answer, from its prompt's tokens to its one terminal event. All synchronous: others act on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from penstock_gateway.choice import Choice, Placement
from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_gateway.events import (
    Embedded,
    Finished,
    FinishReason,
    PromptLogprobs,
    Started,
    TokenLogprobs,
    Usage,
)
from penstock_gateway.follower import Follower
from penstock_gateway.prompt_first import PromptFirst
from penstock_gateway.requests import Criticality, EmbeddingOptions
from penstock_gateway.sampling import ResolvedSampling
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_shared.constraint import Constraint
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import AdapterSpec, ModelSpec
from penstock_shared.errors import InternalError, PenstockError
from penstock_shared.tracing import TraceContext

# A request that was there when two replicas died may be what kills them.
_MAX_DEATHS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be generated: all that a replica needs to know of a request. Named after the request that began it.

    Only requests of equal `cache_salt` share cached keys and values.
    With `embedding` a vector is made of the prompt instead. `adapter` names one of the model's.
    """

    request_id: str
    spec: ModelSpec
    prompt_token_ids: Sequence[int]
    sampling: ResolvedSampling
    tenant: str
    criticality: Criticality
    deadline: Deadline
    trace: TraceContext
    cache_salt: bytes
    embedding: EmbeddingOptions | None = None
    adapter: str | None = None
    constraint: Constraint | None = None

    @property
    def adapter_spec(self) -> AdapterSpec | None:
        """What the adapter was when the request was admitted."""
        return self.spec.adapter(self.adapter)

    def prompt_names(self) -> PromptNames:
        """By which replicas are asked what they have of the prompt. None, where they compute all of it in any case."""
        is_computed_whole = self.sampling.prompt_logprobs is not None or self.embedding is not None
        adapter = self.adapter_spec
        return PromptNames(
            () if is_computed_whole else self.prompt_token_ids,
            self.cache_salt,
            adapter="" if adapter is None else adapter.key,
        )


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """Which replica it is, and what its arithmetic is."""

    replica_id: str
    revision: str
    numerics_fingerprint: str


class Generation:
    """A request's choices, and those who are told of them.

    Args:
        job: what is to be generated; its criticality and deadline follow the followers'.
        vocabulary: of the job's model.
        new_sequence_id: numbers unique in this gateway.
        meter: told how many output tokens came; None: nobody counts.

    Attributes:
        followers: the requests that wait for it, the one that began it first.
        replica: the first that had a part of it.
        is_exact: false where replicas of unequal arithmetic had parts of it.
        is_kept: the answer was handed to the cache.
        prompt_names: by which replicas are asked what they have computed of the prompt already.
        num_prompt_logprobs: prompt tokens whose log probabilities have come.
        num_drafted_tokens, num_accepted_tokens: what replicas say of speculation in the choices that have ended.
    """

    def __init__(
        self,
        job: Job,
        *,
        vocabulary: Vocabulary,
        new_sequence_id: Callable[[], int],
        meter: Callable[[int], None] | None = None,
    ) -> None:
        self.job = job
        stops = job.sampling.stop
        self.choices = [Choice(i, new_sequence_id(), vocabulary, stops) for i in range(job.sampling.n)]
        self.waiting = list(self.choices)
        self.followers: list[Follower] = []
        self.replica: ReplicaIdentity | None = None
        self.routing_reason = ""
        self.num_resumed = 0
        self.is_exact = True
        self.is_over = False
        self.is_kept = False
        self.prompt_names = job.prompt_names()
        self.num_prompt_logprobs = 0
        self.num_drafted_tokens = 0
        self.num_accepted_tokens = 0
        self.queued_s = 0.0
        is_scored = job.sampling.prompt_logprobs is not None
        self._prompt_first = PromptFirst(len(job.prompt_token_ids) - 1 if is_scored else 0)
        self._meter = meter
        self._num_placements = 0
        self._num_deaths = 0
        self._cached_prompt_tokens: int | None = None

    def __repr__(self) -> str:
        return (
            f"Generation({self.job.request_id}, waiting={len(self.waiting)}/{len(self.choices)}, over={self.is_over})"
        )

    def join(self, follower: Follower) -> None:
        """A request waits for this answer. First it gets what is there already."""
        assert not self.is_over, "nothing joins what has ended"
        self.followers.append(follower)
        self._match_followers()
        if self.replica is not None:
            self._start(follower, self.replica)
            follower.catch_up(self.choices)

    def leave(self, follower: Follower) -> None:
        """A request does not wait any more. Whoever calls this retires a generation that nobody waits for."""
        self.followers.remove(follower)
        self._match_followers()

    def waiting_lengths(self) -> list[int]:
        """Prompt and output so far of each choice that waits for a replica, in tokens."""
        prompt = len(self.job.prompt_token_ids)
        return [prompt + len(choice.output_token_ids) for choice in self.waiting]

    def place(self, replica: ReplicaIdentity, count: int, reason: str) -> tuple[int, list[Choice]]:
        """The first `count` waiting choices go to a replica. Returns the number of this attempt, and the choices."""
        placed, self.waiting = self.waiting[:count], self.waiting[count:]
        self._num_placements += 1
        first = self.replica or replica
        self.is_exact &= replica.numerics_fingerprint == first.numerics_fingerprint
        if self.replica is None:
            self.replica, self.routing_reason = replica, reason
            for follower in self.followers:
                self._start(follower, replica)
        return self._num_placements, placed

    def take_prompt_logprobs(self, tokens: Sequence[TokenLogprobs]) -> None:
        """More of the prompt's log probabilities came. They are not kept: nobody joins who wants them."""
        self.num_prompt_logprobs += len(tokens)
        for follower in self.followers:
            follower.buffer.put(PromptLogprobs(tuple(tokens)))
        self._prompt_first.took(len(tokens))

    def take_embedding(self, values: Sequence[float]) -> None:
        """The prompt's vector came; its end comes with it."""
        for follower in self.followers:
            follower.buffer.put(Embedded(values))

    def take_output(self, choice: Choice, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> bool:
        """Tokens of a choice came. True where they complete a stop string: the worker need not go on."""
        for follower in self.followers:
            follower.timeline.token_came()
        scan, count = choice.feed(token_ids)
        if self._meter is not None:
            self._meter(count)
        self._emit(choice, scan.text, token_ids[:count], logprobs[:count])
        if scan.matched is None:
            return False
        self._finish(Finished(choice.index, FinishReason.STOP, stop_string=scan.matched), choice)
        return True

    def end_choice(
        self, choice: Choice, reason: FinishReason, *, stop_token_id: int | None, cached_prompt_tokens: int
    ) -> None:
        """The worker ended a choice by STOP or LENGTH."""
        if choice.is_finished:
            return
        self._count_cached(cached_prompt_tokens)
        scan = choice.finish()
        self._emit(choice, scan.text, (), ())
        if scan.matched is None:
            finished = Finished(choice.index, reason, stop_token_id=stop_token_id)
        else:
            finished = Finished(choice.index, FinishReason.STOP, stop_string=scan.matched)
        self._finish(finished, choice)

    def count_drafts(self, num_drafted: int, num_accepted: int) -> None:
        """A choice has ended in which so many tokens were guessed, and so many rightly."""
        self.num_drafted_tokens += num_drafted
        self.num_accepted_tokens += num_accepted

    def lose(self, choices: Sequence[Choice]) -> None:
        """Choices lost their place at a worker without having finished: they wait again."""
        for choice in choices:
            choice.placement = None
        self.waiting += choices

    def resume(self, *, was_death: bool) -> None:
        """Some choices are going to move to another replica; fails where this request is suspected of the death."""
        self.num_resumed += 1
        self._num_deaths += was_death
        if self._num_deaths >= _MAX_DEATHS:
            self.fail(InternalError(f"the request was running on {_MAX_DEATHS} replicas when they died"))

    def fail(self, error: PenstockError) -> None:
        """Ends it with an error for everybody who waits, if it has not ended."""
        self._end(error)

    def abandon(self) -> list[tuple[Choice, Placement]]:
        """Nobody waits for it any more. Returns what is to be cancelled at workers."""
        self._end(None)
        running = [(choice, choice.placement) for choice in self.choices if choice.placement is not None]
        self.waiting.clear()
        return running

    def usage(self) -> Usage:
        """Tokens so far."""
        completion = sum(len(choice.output_token_ids) for choice in self.choices)
        return Usage(len(self.job.prompt_token_ids), completion, self._cached_prompt_tokens or 0)

    def finish_reasons(self) -> list[str]:
        """Why the choices that have ended did so, in the words of the conventions."""
        return [choice.finish_reason.name.lower() for choice in self.choices if choice.finish_reason is not None]

    def _match_followers(self) -> None:
        """Runs at the highest criticality and the latest deadline of those who wait."""
        if not self.followers:
            return
        criticality = max(follower.criticality for follower in self.followers)
        deadline = max((follower.deadline for follower in self.followers), key=lambda each: each.at_monotonic_s)
        if (criticality, deadline) != (self.job.criticality, self.job.deadline):
            self.job = replace(self.job, criticality=criticality, deadline=deadline)

    def _start(self, follower: Follower, replica: ReplicaIdentity) -> None:
        follower.timeline.dispatched()
        started = Started(
            request_id=follower.request_id,
            model=self.job.spec.name,
            model_revision=replica.revision,
            replica=replica.replica_id,
            routing_reason=self.routing_reason,
            cache=follower.cache,
            sampling=self.job.sampling,
            trace_id=follower.trace.trace_id_hex,
            prompt_tokens=len(self.job.prompt_token_ids),
        )
        follower.buffer.put(started)

    def _emit(self, choice: Choice, text: str, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> None:
        choice.delivered(text, logprobs)
        self._prompt_first.send(partial(self._show, choice.index, text, token_ids, logprobs))

    def _show(self, choice: int, text: str, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> None:
        for follower in self.followers:
            follower.take_output(choice, text, token_ids, logprobs)

    def _finish(self, finished: Finished, choice: Choice) -> None:
        choice.finished = finished
        choice.placement = None
        self._prompt_first.send(partial(self._tell, finished))
        if all(each.is_finished for each in self.choices):
            self._end(None)

    def _tell(self, finished: Finished) -> None:
        for follower in self.followers:
            follower.buffer.put(finished)

    def _end(self, error: PenstockError | None) -> None:
        if not self.is_over:
            self.is_over = True
            if error is None:
                self._prompt_first.open()
            for follower in self.followers:
                follower.buffer.close(error)

    def _count_cached(self, num_tokens: int) -> None:
        """The least of the choices: what no choice had to compute."""
        known = self._cached_prompt_tokens
        self._cached_prompt_tokens = num_tokens if known is None else min(known, num_tokens)
