"""What is stored of a prompt for the verifier: its tokens' states, compressed; the form of `EncodedPrompt.detail`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.encoder import EncodedTokens

_STEPS = 127.0
_TINY = 1e-6
_COUNT = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """A prompt's tokens as they were stored.

    Attributes:
        ids: [num_tokens], of the encoder's vocabulary.
        spans: [num_tokens, 2], begin and end of each in the text.
        vectors: float32 [num_tokens, num_layers, width], each of unit length.
    """

    ids: NDArray[np.int64]
    spans: NDArray[np.int64]
    vectors: NDArray[np.float32]


class TokenCodec:
    """Keeps the first principal components of some layers' states, in 8 bits each.

    Args:
        layers: which of the hidden states, 0 being the embeddings.
        means: float32 [num_layers, dimension].
        bases: float32 [num_layers, dimension, width].
        fingerprint: of all of these.
    """

    def __init__(
        self, layers: tuple[int, ...], means: NDArray[np.float32], bases: NDArray[np.float32], fingerprint: str
    ) -> None:
        self.fingerprint = fingerprint
        self._layers = list(layers)
        self._means = means
        self._bases = bases
        self._shape = (len(layers), bases.shape[2])

    def detail(self, tokens: EncodedTokens) -> bytes:
        """Number of tokens, ids, spans, vectors."""
        centred = tokens.states[self._layers] - self._means[:, None]  # [layers, tokens, dimension]
        parts = np.ascontiguousarray((centred @ self._bases).transpose(1, 0, 2))  # [tokens, layers, width]
        largest = np.maximum(np.abs(parts).max(axis=-1, keepdims=True), _TINY)
        scaled = np.rint(parts * (_STEPS / largest)).astype(np.int8)
        head = np.concatenate([[len(tokens.ids)], tokens.ids, tokens.spans.ravel()])
        return bytes(head.astype(_COUNT).tobytes() + scaled.tobytes())

    def num_tokens(self, detail: bytes) -> int:
        """Of the prompt, without reading the rest."""
        return int.from_bytes(detail[: _COUNT.itemsize], "little")

    def tokens(self, detail: bytes) -> StoredTokens:
        """What `detail` made bytes of; an empty detail is a prompt of no tokens."""
        num_tokens = self.num_tokens(detail)
        head = np.frombuffer(detail, _COUNT, 3 * num_tokens, _COUNT.itemsize if detail else 0).astype(np.int64)
        scaled = np.frombuffer(detail, np.int8, offset=(1 + 3 * num_tokens) * _COUNT.itemsize if detail else 0)
        vectors = scaled.reshape(num_tokens, *self._shape).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)
        return StoredTokens(head[:num_tokens], head[num_tokens:].reshape(num_tokens, 2), vectors)
