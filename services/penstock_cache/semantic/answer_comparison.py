"""Whether two answers say the same: by their texts, else by their meaning."""

import asyncio
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.answer_facts import contradict, facts_of
from penstock_cache.semantic.encoder import Encoder, EncoderError, UnreadablePromptError

# Cosines of all-MiniLM: paraphrases of a statement lie above, statements about the same thing mostly below.
_MIN_SIMILARITY = 0.9
_MIN_SENTENCE_SIMILARITY = 0.75
_MAX_SENTENCES = 12
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Texts whose form is their content.
_FORMAL = re.compile(r"```|^ {0,8}[\[{<]|[;{}]$|=>|</\w", re.MULTILINE)
# Longer ones are compared as texts only; to read them would hold up the event loop.
_MAX_CHARS = 8192

# Curly quotes, dashes and the minus sign.
_PLAIN_SIGNS = str.maketrans("\u2019\u2018\u201c\u201d\u2013\u2014\u2212", "''\"\"---")


class AnswerComparison:
    """Compares answers in three steps: the same text, the same but for form, the same meaning.

    Args:
        encoder: asked in the last step, behind everything that is urgent.
        timeout_s: how long that may take.
    """

    def __init__(self, encoder: Encoder, *, timeout_s: float) -> None:
        self._encoder = encoder
        self._timeout_s = timeout_s

    async def are_equivalent(self, one: Sequence[str], other: Sequence[str]) -> bool | None:
        """Whether each text says what its counterpart says; None where that cannot be told, or not in time."""
        if len(one) != len(other):
            return False
        pairs = [(a, b) for a, b in zip(one, other, strict=True) if _normalized(a) != _normalized(b)]
        if not pairs:
            return True
        if max(map(len, (*one, *other))) > _MAX_CHARS:
            return None
        if any(_differ_in_form(a, b) for a, b in pairs):
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._mean_the_same(pairs)
        except (TimeoutError, EncoderError, UnreadablePromptError):
            return None

    async def _mean_the_same(self, pairs: list[tuple[str, str]]) -> bool | None:
        for one, other in pairs:
            sentences = [_sentences(one), _sentences(other)]
            if not all(1 <= len(each) <= _MAX_SENTENCES for each in sentences):
                return None
            if not _agree(*[await self._vectors(each) for each in sentences]):
                return False
        return True

    async def _vectors(self, sentences: list[str]) -> NDArray[np.float32]:
        encoded = [await self._encoder.encode(sentence, is_urgent=False) for sentence in sentences]
        return np.stack([each.vector for each in encoded])  # [num_sentences, dimension]


def _differ_in_form(one: str, other: str) -> bool:
    """Whether they differ in what meaning does not forgive."""
    return bool(_FORMAL.search(one) or _FORMAL.search(other)) or contradict(facts_of(one), facts_of(other))


def _normalized(text: str) -> str:
    """Without differences in spaces, case, typographic signs and emphasis. Case and spaces of code are content."""
    text = unicodedata.normalize("NFKC", text).strip()
    if _FORMAL.search(text):
        return text
    text = text.translate(_PLAIN_SIGNS).replace("**", "")
    return " ".join(text.casefold().split()).rstrip(".! ")


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(text) if any(char.isalnum() for char in sentence)]


def _agree(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether the wholes are alike, and each sentence has one like it on the other side."""
    whole = float(_unit_mean(one) @ _unit_mean(other))
    similarities = one @ other.T  # [sentences of one, sentences of the other]
    worst = min(similarities.max(axis=0).min(), similarities.max(axis=1).min())
    return whole >= _MIN_SIMILARITY and float(worst) >= _MIN_SENTENCE_SIMILARITY


def _unit_mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = vectors.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)
