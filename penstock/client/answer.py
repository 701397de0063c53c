"""What comes back: the events of a stream, and the answer that they add up to. Times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class FinishReason(StrEnum):
    """Why a choice ended."""

    UNSPECIFIED = "unspecified"
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


class CacheOutcome(StrEnum):
    """Where the answer comes from, if not from a model."""

    UNSPECIFIED = "unspecified"
    SKIPPED = "skipped"
    BYPASSED = "bypassed"
    MISS = "miss"
    EXACT_HIT = "exact_hit"
    SEMANTIC_HIT = "semantic_hit"
    JOINED = "joined"
    EXPLORED = "explored"


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What the cache did for a request.

    Attributes:
        outcome: hit, miss, or why neither.
        score: estimated probability that the stored answer serves this request.
        max_error_rate: the error bound that the decision was made under.
        reason: why, in a few words.
        similarity: cosine of the two prompts' vectors.
        error_bound: upper bound of the probability that the stored answer is wrong here.
    """

    outcome: CacheOutcome
    score: float | None = None
    max_error_rate: float | None = None
    reason: str = ""
    similarity: float | None = None
    error_bound: float | None = None


@dataclass(frozen=True, slots=True)
class ResolvedSampling:
    """The sampling parameters in force, the model's defaults and the drawn seed filled in."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    n: int
    max_tokens: int
    min_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    logit_bias: Mapping[int, float]
    logprobs: int | None
    prompt_logprobs: int | None
    ignore_eos: bool


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """One alternative to a token."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probability of one token (natural logarithm), and the most likely alternatives, most likely first."""

    token_id: int
    logprob: float
    top: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True)
class PromptLogprobs:
    """More of the prompt's log probabilities: of its second token and those after it, in order."""

    tokens: tuple[TokenLogprobs, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted for a request, over all its choices."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, as the gateway saw it; None: the phase did not take place."""

    admit_s: float | None
    cache_s: float | None
    tokenize_s: float | None
    queue_s: float | None
    prefill_s: float | None
    decode_s: float | None
    total_s: float | None
    time_to_first_token_s: float | None


@dataclass(frozen=True, slots=True)
class Started:
    """First event: the request was accepted and dispatched."""

    request_id: str
    model: str
    model_revision: str
    replica: str
    routing_reason: str
    cache: CacheReport
    sampling: ResolvedSampling
    prompt_tokens: int
    trace_id: str
    resume_token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delta:
    """More output of one choice. The text may be empty where tokens do not end a character."""

    choice: int
    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """One choice has ended; what ended it, where a stop string or token did."""

    choice: int
    reason: FinishReason
    stop_string: str | None = None
    stop_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """Last event of a stream.

    Attributes:
        usage: tokens of all choices.
        timings: where the time went.
        num_resumed: how often the generation moved to another replica.
        is_exact_continuation: False where such a move may have changed what came after it.
    """

    usage: Usage
    timings: Timings
    num_resumed: int = 0
    is_exact_continuation: bool = True


Event: TypeAlias = Started | PromptLogprobs | Delta | Finished | Final


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole output."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...]
    finish_reason: FinishReason
    stop_string: str | None = None
    stop_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole generation. `text`, `token_ids` and `finish_reason` are those of the first choice.

    `prompt_logprobs` are of the prompt's second token and those after it, where they were asked for.
    """

    choices: tuple[Choice, ...]
    usage: Usage
    timings: Timings
    model: str
    model_revision: str
    replica: str
    routing_reason: str
    cache: CacheReport
    sampling: ResolvedSampling
    request_id: str
    trace_id: str
    num_resumed: int
    is_exact_continuation: bool
    prompt_logprobs: tuple[TokenLogprobs, ...] = ()

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return self.choices[0].text

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Token ids of the first choice."""
        return self.choices[0].token_ids

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first choice ended."""
        return self.choices[0].finish_reason
