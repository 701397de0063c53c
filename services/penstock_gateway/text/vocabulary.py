"""The table that turns token ids into bytes, fetched once for each tokenizer fingerprint."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock_shared.directory import ModelSpec


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each token contributes to the output.

    Attributes:
        fingerprint: of the tokenizer that it belongs to.
        token_bytes: by token id; empty for special tokens and for ids without a token.
        strips_leading_space: one leading space of the whole output is dropped (SentencePiece).
    """

    fingerprint: str
    token_bytes: tuple[bytes, ...]
    strips_leading_space: bool = False


class VocabularyStore:
    """Vocabularies by fingerprint. Whoever asks for one that is on its way waits for the same fetch.

    Args:
        fetch: asks the tokenizer service; raises a `PenstockError` where it cannot.
    """

    def __init__(self, fetch: Callable[[ModelSpec], Awaitable[Vocabulary]]) -> None:
        self._fetch = fetch
        self._loaded: dict[str, Vocabulary] = {}
        self._loading: dict[str, asyncio.Task[Vocabulary]] = {}

    def has(self, spec: ModelSpec) -> bool:
        """Whether the model's vocabulary is here."""
        return spec.tokenizer_fingerprint in self._loaded

    async def get(self, spec: ModelSpec) -> Vocabulary:
        """The model's vocabulary. A caller that is cancelled leaves the fetch to the others."""
        found = self._loaded.get(spec.tokenizer_fingerprint)
        return found if found is not None else await asyncio.shield(self._load(spec))

    def keep_only(self, fingerprints: set[str]) -> None:
        """Forgets the tables of tokenizers that no model uses any more."""
        self._loaded = {key: table for key, table in self._loaded.items() if key in fingerprints}

    async def close(self) -> None:
        """Ends the fetches under way."""
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _load(self, spec: ModelSpec) -> asyncio.Task[Vocabulary]:
        fingerprint = spec.tokenizer_fingerprint
        task = self._loading.get(fingerprint)
        if task is None:
            task = self._loading[fingerprint] = asyncio.ensure_future(self._fetch(spec))
            task.add_done_callback(lambda done: self._take(fingerprint, done))
        return task

    def _take(self, fingerprint: str, task: asyncio.Task[Vocabulary]) -> None:
        del self._loading[fingerprint]
        if not task.cancelled() and task.exception() is None:
            self._loaded[fingerprint] = task.result()
