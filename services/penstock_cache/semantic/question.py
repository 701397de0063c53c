"""What a lookup asks of the semantic layer, and what it gets."""

import enum
from dataclasses import dataclass

from penstock_cache.entries import StoredEntry


@dataclass(frozen=True, slots=True)
class Question:
    """A request, as the semantic layer sees it.

    Attributes:
        tenant: whose answers.
        model: by which what is learned is kept apart.
        exact_digest: of the request.
        context_digest: of all that must be equal.
        prompt: what is compared by meaning.
        is_scoped: whether the digests hold a scope that the client named.
    """

    tenant: str
    model: str
    exact_digest: bytes
    context_digest: bytes
    prompt: str
    is_scoped: bool


class PolicyKind(enum.Enum):
    """By what a candidate is served."""

    MAX_ERROR_RATE = enum.auto()
    MIN_SIMILARITY = enum.auto()
    MIN_SCORE = enum.auto()


@dataclass(frozen=True, slots=True)
class Policy:
    """How sure the layer must be; `value` as the kind says."""

    kind: PolicyKind
    value: float


class Outcome(enum.Enum):
    """What the semantic layer came to."""

    MISS = enum.auto()
    SERVE = enum.auto()
    EXPLORE = enum.auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The semantic layer's answer to a question.

    Attributes:
        outcome: what is to be done.
        reason: in a few words.
        entry: to be served, or to be compared with.
        similarity: cosine of the two prompts.
        probability: that the entry serves the prompt.
        error_bound: of the probability that it does not.
        exploration_token: where the outcome is EXPLORE.
    """

    outcome: Outcome
    reason: str
    entry: StoredEntry | None = None
    similarity: float | None = None
    probability: float | None = None
    error_bound: float | None = None
    exploration_token: bytes = b""
