"""What the cache keeps and what it is asked, as plain values."""

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExactKey:
    """Names one answer of one tenant; `digest` has 32 bytes."""

    tenant: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An answer to be kept; one of the same key is replaced.

    Attributes:
        key: what it is found by.
        model_revision: of the weights that gave it.
        answer: opaque to the store.
        ttl_s: how long it may be served.
        tags: by which it can be removed.
    """

    key: ExactKey
    model_revision: str
    answer: bytes
    ttl_s: float
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An answer that was kept; `created_s` in seconds since the epoch."""

    entry_id: str
    answer: bytes
    created_s: float


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
