"""Whether two answers say the same: by what they state, else by their words and their meaning."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.answers.reading import Reading, Verdict, read_both
from penstock_cache.semantic.encoder import Encoder, EncoderError, UnreadablePromptError

# Set on the answers of `bench/answer_pairs.jsonl` with the mark "tuning"; between them lies what is not told.
_SAME_COVERED = 0.72
_SAME_SIMILARITY = 0.75
# Of a word to the nearest one of the other answer, where both have words of their own.
_MIN_WORD_SIMILARITY = 0.4
# Lists of words are English.
_SAME_COVERED_ELSEWHERE = 0.95
_OTHER_COVERED = 0.7
_OTHER_SUM = 1.05
_OTHER_SUM_IN_DOUBT = 1.15
# Longer ones are compared as texts only; to read them would hold up the event loop.
_MAX_CHARS = 8192
# What the encoder reads at once, well within its tokens.
_MAX_CHUNK_CHARS = 600
# Of each side; what is beyond them is taken to be like them.
_MAX_WORDS = 12
_MAX_COUNTERPARTS = 24


class AnswerComparison:
    """Compares answers: the same words, other statements, the same meaning; what cannot be told is not guessed.

    Args:
        encoder: asked in the last step, behind everything that is urgent.
        timeout_s: how long that may take.
    """

    def __init__(self, encoder: Encoder, *, timeout_s: float) -> None:
        self._encoder = encoder
        self._timeout_s = timeout_s

    async def are_equivalent(self, one: Sequence[str], other: Sequence[str], *, question: str) -> bool | None:
        """Whether each text says what its counterpart says; None where that cannot be told, or not in time.

        Args:
            one: the texts of an answer's choices.
            other: those of the other answer.
            question: what was asked now; an answer need not repeat its words.
        """
        if len(one) != len(other):
            return False
        if max(map(len, (*one, *other))) > _MAX_CHARS:
            return True if list(one) == list(other) else None
        try:
            async with asyncio.timeout(self._timeout_s):
                found = [await self._say_the_same(*pair, question) for pair in zip(one, other, strict=True)]
        except (TimeoutError, EncoderError, UnreadablePromptError):
            return None
        if False in found:
            return False
        return None if None in found else True

    async def _say_the_same(self, one: str, other: str, question: str) -> bool | None:
        # Off the loop, for to read a long answer takes longer than a lookup may wait.
        read = await asyncio.to_thread(read_both, one, other, question[:_MAX_CHARS])
        if isinstance(read, Verdict):
            return read.is_equivalent
        covered, least_like = await self._covered(read)
        similarity = float(await self._meaning(read.one.sentences) @ await self._meaning(read.other.sentences))
        needed = _SAME_COVERED_ELSEWHERE if read.is_foreign else _SAME_COVERED
        is_like = covered >= needed and least_like >= _MIN_WORD_SIMILARITY and similarity >= _SAME_SIMILARITY
        if is_like and not read.contrast.is_doubtful:
            return True
        if read.contrast.has_common:
            return None
        is_other = covered + similarity < (_OTHER_SUM_IN_DOUBT if read.contrast.is_doubtful else _OTHER_SUM)
        return False if is_other and covered < _OTHER_COVERED else None

    async def _covered(self, read: Reading) -> tuple[float, float]:
        """How far the words of one answer are in the other, or the question: their share, and the least like one.

        A word that has one like it counts in part. The share is that of the answer with the lesser one.
        """
        found = read.contrast
        left = await self._nearest(found.left, list(read.other.words))
        right = await self._nearest(found.right, list(read.one.words))
        shares = [
            1 - float((1 - each).mean()) * len(words) / len(text.words) if words else 1.0
            for each, words, text in ((left, found.left, read.one), (right, found.right, read.other))
        ]
        is_exchanged = bool(found.left and found.right)
        return min(shares), float(min(left.min(), right.min())) if is_exchanged else 1.0

    async def _nearest(self, words: Sequence[str], others: Sequence[str]) -> NDArray[np.float32]:
        """[num_words], the similarity of each of the first words to its nearest one."""
        if not words or not others:
            return np.zeros(len(words), np.float32)
        vectors = await self._vectors(words[:_MAX_WORDS])
        counterparts = await self._vectors(others[:_MAX_COUNTERPARTS])
        return np.asarray((vectors @ counterparts.T).max(axis=1), np.float32)

    async def _meaning(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        vector = (await self._vectors(_chunks(sentences))).mean(axis=0)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    async def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = [await self._encoder.encode(text, is_urgent=False) for text in texts]
        return np.stack([each.vector for each in encoded])  # [num_texts, dimension]


def _chunks(sentences: Sequence[str]) -> list[str]:
    """The text in pieces that the encoder reads as a whole."""
    chunks = [""]
    for sentence in sentences:
        if chunks[-1] and len(chunks[-1]) + len(sentence) > _MAX_CHUNK_CHARS:
            chunks.append("")
        chunks[-1] += f"{sentence} "
    return chunks
