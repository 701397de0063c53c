"""What makes vectors of prompts, behind two seams: the model itself, and what batches requests over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.prompts import EncodedPrompt


class UnreadablePromptError(Exception):
    """The encoder or the verifier does not see the whole prompt: expected, exact matches only."""


class EncoderError(Exception):
    """The encoder failed or has too much to do: expected, go on without it."""


@dataclass(frozen=True, slots=True)
class EncodedTokens:
    """A prompt's tokens in their context, special tokens left out.

    Attributes:
        text: the prompt.
        ids: int [num_tokens], of the vocabulary.
        spans: int [num_tokens, 2], begin and end of each token in `text`, in characters.
        states: float32 [num_layers + 1, num_tokens, dimension], as the embeddings and then each layer give them.
    """

    text: str
    ids: NDArray[np.int64]
    spans: NDArray[np.int64]
    states: NDArray[np.float32]


class Detail(Protocol):
    """Makes of a prompt's tokens what is stored for the verifier.

    Attributes:
        fingerprint: of the form of what it makes; another form is made anew from the text.
    """

    @property
    def fingerprint(self) -> str:
        """Of the form of what it makes."""

    def detail(self, tokens: EncodedTokens) -> bytes:
        """What the verifier wants to know of a prompt later."""


class EncoderModel(Protocol):
    """Encodes a batch, synchronously, on one thread at a time.

    Attributes:
        fingerprint: of weights and settings; vectors of different fingerprints are never compared.
        dimension: of the vectors.
    """

    @property
    def fingerprint(self) -> str:
        """Of weights and settings."""

    @property
    def dimension(self) -> int:
        """Of the vectors."""

    def run(self, texts: Sequence[str]) -> list[EncodedPrompt | UnreadablePromptError]:
        """One result for each text, in order."""


class Encoder(Protocol):
    """Encodes for many requests at once, off the event loop.

    Attributes:
        fingerprint: of weights and settings; vectors of different fingerprints are never compared.
        dimension: of the vectors.
    """

    @property
    def fingerprint(self) -> str:
        """Of weights and settings."""

    @property
    def dimension(self) -> int:
        """Of the vectors."""

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """The prompt's vector and detail. What is not urgent waits for what is.

        Raises:
            UnreadablePromptError: the vector would not stand for the whole prompt.
            EncoderError: it failed or has too much to do.
        """
