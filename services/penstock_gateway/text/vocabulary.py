"""The table that turns token ids into bytes, fetched once for each tokenizer fingerprint."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from penstock_shared.directory import ModelSpec

_Fingerprints = tuple[str, str]  # of tokenizer and chat template


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
    """Vocabularies by fingerprints. Whoever asks for one that is on its way waits for the same fetch.

    A revision with another chat template has its own, though its tokenizer is the same: where it has been fetched, the
    tokenizer service has that template, too.

    Args:
        fetch: asks the tokenizer service; raises a `PenstockError` where it cannot.
    """

    def __init__(self, fetch: Callable[[ModelSpec], Awaitable[Vocabulary]]) -> None:
        self._fetch = fetch
        self._loaded: dict[_Fingerprints, Vocabulary] = {}
        self._loading: dict[_Fingerprints, asyncio.Task[Vocabulary]] = {}

    def has(self, spec: ModelSpec) -> bool:
        """Whether the model's vocabulary is here."""
        return _fingerprints(spec) in self._loaded

    async def get(self, spec: ModelSpec) -> Vocabulary:
        """The model's vocabulary. A caller that is cancelled leaves the fetch to the others."""
        found = self._loaded.get(_fingerprints(spec))
        return found if found is not None else await asyncio.shield(self._load(spec))

    def keep_only(self, specs: Iterable[ModelSpec]) -> None:
        """Forgets the tables of tokenizers that no model uses any more."""
        used = {_fingerprints(spec) for spec in specs}
        self._loaded = {key: table for key, table in self._loaded.items() if key in used}

    async def close(self) -> None:
        """Ends the fetches under way."""
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _load(self, spec: ModelSpec) -> asyncio.Task[Vocabulary]:
        key = _fingerprints(spec)
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.ensure_future(self._fetch(spec))
            task.add_done_callback(lambda done: self._take(key, done))
        return task

    def _take(self, key: _Fingerprints, task: asyncio.Task[Vocabulary]) -> None:
        del self._loading[key]
        if not task.cancelled() and task.exception() is None:
            self._loaded[key] = task.result()


def _fingerprints(spec: ModelSpec) -> _Fingerprints:
    return spec.tokenizer_fingerprint, spec.template_fingerprint
