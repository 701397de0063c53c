"""Sequences: what is asked for, the state while it runs, and what comes out. Needs no torch."""

from array import array
from collections.abc import Mapping
from collections.abc import Sequence as ReadOnlyList
from copy import copy
from dataclasses import dataclass, field
from enum import Enum

from penstock_shared.constraint import Constraint
from penstock_shared.errors import PenstockError
from penstock_shared.prefix_chain import PrefixBlock
from penstock_worker.engine.draft_pace import DraftRecord
from penstock_worker.engine.pooling import EmbeddingOptions, PooledVector, Pooling


class FinishReason(Enum):
    """Why a sequence ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the tokens of one sequence are chosen, everything resolved. The defaults change nothing; greedy.

    Attributes:
        temperature: 0 is greedy.
        top_p: smallest set of tokens whose probability reaches this; in (0, 1], 1 keeps all.
        top_k: number of most likely tokens considered; 0 keeps all.
        min_p: tokens below this share of the top probability are dropped; in [0, 1], 0 keeps all.
        repetition_penalty: above 1 discourages tokens of prompt and output; 1 changes nothing.
        presence_penalty: subtracted once from the logit of each token already in the output.
        frequency_penalty: subtracted once per occurrence in the output.
        seed: 64 bits; with the choice index and the output position it fixes every random number.
        max_tokens: most output tokens, those already made before a resume included.
        min_tokens: least output tokens before a token may end the sequence.
        stop_token_ids: tokens that end the sequence beside the model's own end-of-sequence tokens.
        logit_bias: added to the logits, by token id.
        logprobs: number of alternatives to report beside each chosen token; None reports nothing.
        ignore_eos: the model's end-of-sequence tokens are ordinary tokens.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    min_tokens: int = 0
    stop_token_ids: frozenset[int] = frozenset()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRequest:
    """One sequence to generate.

    Attributes:
        key: names the sequence in this engine; unique among those that run.
        prompt_token_ids: at least one.
        output_token_ids: the output so far, where a sequence is resumed. Generation goes on after it.
        choice_index: index of this choice in its request; part of the random counter.
        sampling: how its tokens are chosen.
        criticality: 1 (sheddable), 2 (standard) or 3 (critical).
        prompt_logprobs: number of alternatives to report beside each prompt token; None reports nothing of the prompt.
        prompt_logprob_offset: first prompt position to report; at least 1, for nothing precedes the first token.
        cache_salt: only sequences of equal salt share blocks.
        embedding: makes a vector of the prompt; then nothing is generated, and `sampling` does not matter.
        adapter: name of a loaded adapter; None is the base model.
        adapter_revision: what the adapter must be of; None is any.
        constraint: what the output conforms to, that of `output_token_ids` included.
    """

    key: int
    prompt_token_ids: ReadOnlyList[int]
    sampling: SamplingOptions
    output_token_ids: ReadOnlyList[int] = ()
    choice_index: int = 0
    criticality: int = 2
    prompt_logprobs: int | None = None
    prompt_logprob_offset: int = 1
    cache_salt: bytes = b""
    embedding: EmbeddingOptions | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """One alternative of a `TokenLogprobs`."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural log probability of a token and its alternatives.

    Of an output token: after penalties, bias and constraint, before temperature. Of a prompt token: as the model gives
    it.
    """

    token_id: int
    logprob: float
    top: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEnd:
    """How a sequence ended, and its times on the engine's clock in nanoseconds.

    Attributes:
        reason: never CANCELLED: a cancelled sequence leaves without an event.
        stop_token_id: the token that ended it, where one did. It is not part of the output.
        error: set exactly where the reason is ERROR.
        cached_prompt_tokens: prompt tokens whose keys and values were found rather than computed.
        num_preemptions: how often it lost its blocks to another sequence and was computed again.
        num_drafted_tokens, num_accepted_tokens: how many of its tokens were guessed, and how many rightly.
        queued_ns: when it was added.
        prefill_start_ns: start of the first step that computed tokens of it.
        first_token_ns: end of the step that gave its first new token.
    """

    reason: FinishReason
    stop_token_id: int | None = None
    error: PenstockError | None = None
    cached_prompt_tokens: int = 0
    num_preemptions: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    queued_ns: int
    prefill_start_ns: int | None = None
    first_token_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SequenceOutput:
    """What one step gave one sequence.

    Attributes:
        key: the sequence.
        token_ids: its new tokens.
        logprobs: of these; empty where they are not wanted.
        end: its terminal event, on its last output.
        prompt_logprobs: of its next prompt tokens; only before its first token.
        embedding: the prompt's vector, where that was asked for; with the end.
    """

    key: int
    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    end: SequenceEnd | None
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    embedding: list[float] = field(default_factory=list)


def empty_ids() -> "array[int]":
    """An empty list of ids. An array (int64), so that numpy takes long ones without a loop."""
    return array("q")


@dataclass(slots=True, eq=False)
class Sequence:
    """A sequence while it is in the engine.

    Attributes:
        request: what was asked for.
        arrival: counts the sequences of this engine; earlier ones go first among equals.
        ending_token_ids: tokens that end it: its stop tokens and, unless ignored, the model's.
        max_total_tokens: prompt and output together are never longer.
        queued_ns: when it was added.
        prefix_root: root hash of its prefix chain.
        adapter_id: names its adapter in this engine; 0 where it has none.
        token_ids: prompt and output so far.
        num_computed_tokens: how many of them have their keys and values in the blocks.
        block_ids: its KV blocks, in order of position.
        num_scored_tokens: prompt tokens that need no score any more: the first, and those whose scores are out.
        prefix_blocks: names of the first full blocks of its tokens, as many as were needed so far.
        num_kept_blocks: how many of its blocks were put into the prefix index, or found there, since it started to run.
        num_found_tokens: of its computed tokens, those that were found when it started to run.
        cached_prompt_tokens: those of its prompt that were found at its first start.
        pooled: the vector so far, where an embedding was asked for.
        num_starts: how often it has got blocks: again after each preemption.
        drafts: how its drafts fared.
        num_drafted_tokens, num_accepted_tokens: of its output, how many tokens were guessed, and how many rightly.
    """

    request: SequenceRequest
    arrival: int
    ending_token_ids: frozenset[int]
    max_total_tokens: int
    queued_ns: int
    prefix_root: bytes = b""
    adapter_id: int = 0
    token_ids: "array[int]" = field(init=False)
    num_computed_tokens: int = 0
    block_ids: "array[int]" = field(default_factory=empty_ids)
    num_scored_tokens: int = field(init=False)
    prefix_blocks: list[PrefixBlock] = field(default_factory=list)
    num_kept_blocks: int = 0
    num_found_tokens: int = 0
    cached_prompt_tokens: int = 0
    pooled: PooledVector | None = field(init=False)
    num_starts: int = 0
    drafts: DraftRecord = field(default_factory=DraftRecord)
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_preemptions: int = 0
    prefill_start_ns: int | None = None
    first_token_ns: int | None = None

    def __post_init__(self) -> None:
        self.token_ids = array("q", self.request.prompt_token_ids)
        self.token_ids.extend(self.request.output_token_ids)
        self.num_scored_tokens = self.request.prompt_logprob_offset
        embedding = self.request.embedding
        self.pooled = None if embedding is None else PooledVector(embedding)

    @property
    def key(self) -> int:
        """The request's key."""
        return self.request.key

    @property
    def priority(self) -> tuple[int, int]:
        """Sorts before what goes later: critical first, then the order of arrival."""
        return (-self.request.criticality, self.arrival)

    @property
    def num_output_tokens(self) -> int:
        """Output so far, what a resumed request brought included: the position of the next output token."""
        return len(self.token_ids) - len(self.request.prompt_token_ids)

    @property
    def num_uncomputed_tokens(self) -> int:
        """Tokens whose keys and values are still to be computed; 1 while decoding."""
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def num_findable_tokens(self) -> int:
        """Its first tokens that need not be computed where their keys and values are there.

        Not the last one, whose logits are needed, none that precedes a prompt token that has no score yet, and none of
        which a mean is taken.
        """
        if self.request.embedding is not None and self.request.embedding.pooling is Pooling.MEAN:
            return 0
        num_findable = len(self.token_ids) - 1
        is_scored = self.request.prompt_logprobs is not None
        return min(num_findable, self.num_scored_tokens - 1) if is_scored else num_findable

    @property
    def is_full(self) -> bool:
        """Whether its length limit is reached."""
        return len(self.token_ids) >= self.max_total_tokens

    def with_drafts(self, token_ids: "array[int]") -> "Sequence":
        """The sequence as it would be with this output too, for a sampler to look at."""
        drafted = copy(self)
        drafted.token_ids = self.token_ids + token_ids
        return drafted

    def ended(
        self, reason: FinishReason, *, stop_token_id: int | None = None, error: PenstockError | None = None
    ) -> SequenceEnd:
        """Its terminal event."""
        return SequenceEnd(
            reason=reason,
            stop_token_id=stop_token_id,
            error=error,
            cached_prompt_tokens=self.cached_prompt_tokens,
            num_preemptions=self.num_preemptions,
            num_drafted_tokens=self.num_drafted_tokens,
            num_accepted_tokens=self.num_accepted_tokens,
            queued_ns=self.queued_ns,
            prefill_start_ns=self.prefill_start_ns,
            first_token_ns=self.first_token_ns,
        )
