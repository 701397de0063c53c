"""What the cache keeps and what it is asked, as plain values."""

import enum
from dataclasses import dataclass

from penstock_cache.decision.label import Label
from penstock_cache.semantic.prompts import EncodedPrompt


@dataclass(frozen=True, slots=True)
class ExactKey:
    """Names one answer of one tenant; `digest` has 32 bytes."""

    tenant: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class PromptScope:
    """Within what prompts are compared. Nothing is ever found across scopes.

    Attributes:
        tenant: whose prompts.
        context_digest: of all that a semantic match leaves no room in.
        encoder_fingerprint: of the encoder; vectors of different ones say nothing about each other.
    """

    tenant: str
    context_digest: bytes
    encoder_fingerprint: str


@dataclass(frozen=True, slots=True)
class SemanticPart:
    """By what an answer is found that was given to another prompt.

    Attributes:
        context_digest: see `PromptScope`.
        prompt: the prompt that was answered.
        encoder_fingerprint: of the encoder that made its vector.
        cluster: whose answers are known to serve each other's prompts; None begins a new one.
    """

    context_digest: bytes
    prompt: EncodedPrompt
    encoder_fingerprint: str
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An answer to be kept; one of the same key is replaced.

    Attributes:
        key: what it is found by.
        model_revision: of the weights that gave it.
        answer: opaque to the store.
        ttl_s: how long it may be served.
        tags: by which it can be removed.
        tokens_saved: what a hit spares the workers; where room is needed, it speaks for the entry.
        semantic: by what else it is found; None: by its key alone.
    """

    key: ExactKey
    model_revision: str
    answer: bytes
    ttl_s: float
    tags: tuple[str, ...] = ()
    tokens_saved: int = 0
    semantic: SemanticPart | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An answer that was kept; `created_s` in seconds since the epoch."""

    entry_id: str
    answer: bytes
    created_s: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored prompt near to one that is looked up.

    Attributes:
        entry_id: of its answer.
        cluster: whose answers are known to serve each other's prompts.
        similarity: cosine of the two vectors, exact.
        created_s: when the answer was given, in seconds since the epoch.
        prompt: as it was stored.
    """

    entry_id: str
    cluster: str
    similarity: float
    created_s: float
    prompt: EncodedPrompt


@dataclass(frozen=True, slots=True)
class StalePrompt:
    """A prompt whose vector is of another encoder than asked for; nobody finds it until it is encoded again."""

    prompt_id: int
    text: str


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A label that was kept. Numbers of one tenant and model rise in the order in which labels became visible."""

    number: int
    label: Label


@dataclass(frozen=True, slots=True)
class ExportedEntry:
    """An entry with all that another store needs to go on with it.

    Attributes:
        entry: as it was put; `ttl_s` is its whole life, from `created_s` on, and its cluster is named.
        created_s: seconds since the epoch.
        num_uses: how often it was served.
    """

    entry: NewEntry
    created_s: float
    num_uses: int


class Restored(enum.Enum):
    """What became of an entry or a label out of an export."""

    KEPT = enum.auto()
    ALREADY_THERE = enum.auto()  # it, or a newer one of the same key
    REFUSED = enum.auto()  # expired, too large for the budget, or not worth what would have to go


class SelectBy(enum.Enum):
    """What an invalidation goes by."""

    ENTRY_ID = enum.auto()
    TAG = enum.auto()
    MODEL_REVISION = enum.auto()
    ALL = enum.auto()


@dataclass(frozen=True, slots=True)
class Selector:
    """Which answers of a tenant are meant; `value` is empty where all are."""

    by: SelectBy
    value: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What is stored."""

    num_entries: int
    size_bytes: int
