"""The service's encoder and verifier, asked once for each thing: what they said is kept in a folder between runs."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from penstock_cache.semantic.encoder import EncoderModel, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.verifier import Verifier

_BATCH = 32
_FLUSH_EVERY = 500


class KnownScores:
    """Encodes a set of prompts and scores pairs of them.

    Args:
        encoder: of the service.
        verifier: of the service.
        folder: where scores are kept.
    """

    def __init__(self, encoder: EncoderModel, verifier: Verifier, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._encoder = encoder
        self._verifier = verifier
        self._file = sqlite3.connect(folder / "scores.db", timeout=60)
        self._file.execute("CREATE TABLE IF NOT EXISTS scores (question BLOB PRIMARY KEY, scores TEXT) WITHOUT ROWID")
        self._known: dict[bytes, str] = dict(self._file.execute("SELECT question, scores FROM scores"))
        self._new: dict[bytes, str] = {}

    def encode(self, texts: Sequence[str]) -> dict[str, EncodedPrompt | UnreadablePromptError]:
        """What the service makes of each prompt."""
        ordered = sorted(texts, key=len)
        batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
        made = {text: each for batch in batches for text, each in zip(batch, self._encoder.run(batch), strict=True)}
        return {text: self._judged(each) for text, each in made.items()}

    def scores(self, query: EncodedPrompt, candidates: Sequence[EncodedPrompt], clusters: Sequence[str]) -> list[float]:
        """As `Verifier` has it."""
        places = {name: place for place, name in reversed(list(enumerate(clusters)))}
        texts = [query.text, *(candidate.text for candidate in candidates)]
        asked = json.dumps([self._verifier.fingerprint, texts, [places[name] for name in clusters]])
        question = hashlib.blake2b(asked.encode(), digest_size=16).digest()
        if question not in self._known:
            self._known[question] = json.dumps(self._verifier.scores(query, candidates, clusters))
            self._new[question] = self._known[question]
            if len(self._new) >= _FLUSH_EVERY:
                self.keep()
        found: list[float] = json.loads(self._known[question])
        return found

    def _judged(self, made: EncodedPrompt | UnreadablePromptError) -> EncodedPrompt | UnreadablePromptError:
        if isinstance(made, UnreadablePromptError):
            return made
        refusal = self._verifier.refusal(made)
        return UnreadablePromptError(refusal) if refusal else made

    def keep(self) -> None:
        """Writes what is new."""
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", self._new.items())
        self._new.clear()
