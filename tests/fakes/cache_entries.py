"""Entries for the cache's stores, made of short names."""

from collections.abc import Callable, Sequence

import numpy as np

from penstock_cache.entries import ExactKey, NewEntry, PromptScope, SemanticPart
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.store import Store

OpenStore = Callable[..., Store]
ENCODER = "encoder-1"


def key(name: str, tenant: str = "acme") -> ExactKey:
    """A key of its own for each name."""
    return ExactKey(tenant, name.encode().ljust(32))


def entry(
    name: str,
    *,
    tenant: str = "acme",
    ttl_s: float = 100.0,
    tags: tuple[str, ...] = (),
    revision: str = "r1",
    tokens_saved: int = 0,
    semantic: SemanticPart | None = None,
) -> NewEntry:
    """An entry with an answer of 1000 bytes that names it."""
    answer = name.encode().ljust(1000)
    return NewEntry(key(name, tenant), revision, answer, ttl_s, tags, tokens_saved, semantic)


def prompt(text: str, direction: Sequence[float]) -> EncodedPrompt:
    """An encoded prompt that points somewhere."""
    vector = np.array(direction, np.float32)
    return EncodedPrompt(text, vector / np.linalg.norm(vector), f"detail of {text}".encode())


def semantic(
    text: str, direction: Sequence[float], *, context: str = "c", encoder: str = ENCODER, cluster: str | None = None
) -> SemanticPart:
    """The semantic part of an entry."""
    return SemanticPart(context.encode().ljust(32), prompt(text, direction), encoder, cluster)


def scope(tenant: str = "acme", *, context: str = "c", encoder: str = ENCODER) -> PromptScope:
    """Where such an entry is found."""
    return PromptScope(tenant, context.encode().ljust(32), encoder)


async def found(store: Store, name: str, tenant: str = "acme") -> str | None:
    """The name in the answer that a lookup gives."""
    stored = await store.lookup(key(name, tenant))
    return None if stored is None else stored.answer.decode().strip()


async def near(
    store: Store, direction: Sequence[float], *, within: PromptScope | None = None, limit: int = 8
) -> list[str]:
    """The texts of the nearest prompts, nearest first."""
    vector = prompt("", direction).vector
    return [each.prompt.text for each in await store.neighbours(within or scope(), vector, limit)]
