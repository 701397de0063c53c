"""What a client is told while its request runs. The messages of `inference.v1`, as plain values."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_gateway.sampling import ResolvedSampling


class FinishReason(enum.IntEnum):
    """Why a choice ended; the numbers of `types.v1.FinishReason`."""

    STOP = 1
    LENGTH = 2
    CANCELLED = 3
    ERROR = 4


class CacheOutcome(enum.IntEnum):
    """Where an answer comes from; the numbers of `inference.v1.CacheOutcome`."""

    SKIPPED = 1
    BYPASSED = 2
    MISS = 3
    EXACT_HIT = 4
    SEMANTIC_HIT = 5
    JOINED = 6
    EXPLORED = 7


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What the cache did for a request, and why; numbers as in `inference.v1.CacheReport`."""

    outcome: CacheOutcome
    reason: str
    max_error_rate: float | None = None
    score: float | None = None
    similarity: float | None = None
    error_bound: float | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probability (natural) of one token, and the most likely alternatives as (token id, logprob)."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The request was accepted and dispatched."""

    request_id: str
    model: str
    model_revision: str
    replica: str
    routing_reason: str
    cache: CacheReport
    sampling: ResolvedSampling
    trace_id: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class PromptLogprobs:
    """More of the prompt's log probabilities: of its second token and those after it."""

    tokens: tuple[TokenLogprobs, ...]


@dataclass(slots=True)
class Delta:
    """More output of one choice. Mutable: output that is not yet on its way is merged into it."""

    choice: int
    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs]


@dataclass(frozen=True, slots=True)
class Finished:
    """One choice has ended; what matched, where the reason is STOP."""

    choice: int
    reason: FinishReason
    stop_string: str | None = None
    stop_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted for a request, over all its choices."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in nanoseconds. The phases follow each other, but the cache goes with tokenizing."""

    admit_ns: int
    cache_ns: int
    tokenize_ns: int
    queue_ns: int
    prefill_ns: int
    decode_ns: int
    total_ns: int
    time_to_first_token_ns: int | None


@dataclass(frozen=True, slots=True)
class Final:
    """The last event of an answer."""

    usage: Usage
    timings: Timings
    num_resumed: int
    is_exact_continuation: bool


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vector of a prompt."""

    values: Sequence[float]


Event = Started | PromptLogprobs | Delta | Embedded | Finished
