"""Encoders whose vectors are counts of words: prompts that share words are near, without a model."""

import hashlib
import time
from collections.abc import Sequence

import numpy as np

from penstock_cache.semantic.encoder import UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt

DIMENSION = 64


def encoded(text: str) -> EncodedPrompt:
    """A prompt as `WordEncoderModel` encodes it."""
    vector = np.full(DIMENSION, 0.01, np.float32)
    for word in text.lower().split():
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % DIMENSION] += 1
    return EncodedPrompt(text, vector / np.linalg.norm(vector), text.encode())


class WordEncoderModel:
    """An `EncoderModel`. A text with "unreadable" in it gets no vector.

    Attributes:
        batches: the texts of each call.
        failure: raised by every call, while it is set.
        pause_s: that each call takes, as a model's pass does.
    """

    def __init__(self, fingerprint: str = "words-1") -> None:
        self.fingerprint = fingerprint
        self.dimension = DIMENSION
        self.batches: list[list[str]] = []
        self.failure: Exception | None = None
        self.pause_s = 0.0

    def run(self, texts: Sequence[str]) -> list[EncodedPrompt | UnreadablePromptError]:
        """One result for each text."""
        self.batches.append(list(texts))
        time.sleep(self.pause_s)
        if self.failure is not None:
            raise self.failure
        return [UnreadablePromptError("unreadable") if "unreadable" in text else encoded(text) for text in texts]


class WordEncoder(WordEncoderModel):
    """An `Encoder` over it that answers at once."""

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """The prompt's vector."""
        (result,) = self.run([text])
        if isinstance(result, Exception):
            raise result
        return result
