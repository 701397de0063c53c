"""A query and its candidates laid out as arrays, so that features are made of all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.prompt_words import PromptWords
from penstock_cache.semantic.verification.token_codec import StoredTokens

Array = NDArray[np.float32]
_CONTENT = 0.2
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """Words of all texts one behind the other: text 0 is the query, text 1 + k is candidate k.

    Attributes:
        prompts: the query first.
        lengths, starts: [1 + K] words of each text.
        slots, is_word: [K, longest], where each candidate's words are, and whether there is one.
        weights: float32 [num_words].
        vectors: float32 [num_words, num_layers, width], of unit length.
        cosines: float32 [K] of the sentence vectors with the query's.
        is_same: bool [K, K], which candidates are known to share one answer.
    """

    prompts: Sequence[PromptWords]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]
    slots: NDArray[np.int64]
    is_word: NDArray[np.bool_]
    weights: Array
    vectors: Array
    cosines: Array
    is_same: NDArray[np.bool_]

    @property
    def num_query_words(self) -> int:
        """Words of the query."""
        return int(self.lengths[0])

    @property
    def query_weights(self) -> Array:
        """[num_query_words]."""
        return self.weights[: self.num_query_words]

    def sums(self, values: Array) -> Array:
        """Sums over each candidate's words, of [..., num_words] values."""
        summed: Array = np.add.reduceat(values, self.starts, axis=-1)[..., 1:]
        return summed

    def maxima(self, values: Array) -> Array:
        """Maxima over each candidate's words."""
        found: Array = np.maximum.reduceat(values, self.starts, axis=-1)[..., 1:]
        return found


def candidate_set(
    prompts: Sequence[PromptWords], tokens: Sequence[StoredTokens], cosines: Array, clusters: Sequence[str]
) -> CandidateSet:
    """Lays out a query, which is first in `prompts` and `tokens`, and its candidates."""
    lengths = np.array([len(prompt.weights) for prompt in prompts])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    places = np.arange(lengths[1:].max())
    is_word = places < lengths[1:, None]
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    known = np.array([numbers[cluster] for cluster in clusters])
    return CandidateSet(
        prompts=prompts,
        lengths=lengths,
        starts=starts,
        slots=np.where(is_word, starts[1:, None] + places, 0),
        is_word=is_word,
        weights=np.array([weight for prompt in prompts for weight in prompt.weights], np.float32),
        vectors=_word_vectors(prompts, tokens, starts, int(lengths.sum())),
        cosines=cosines,
        is_same=known[:, None] == known[None, :],
    )


def content(weights: Array) -> NDArray[np.bool_]:
    """Which words carry content."""
    return weights > _CONTENT


def _word_vectors(
    prompts: Sequence[PromptWords], tokens: Sequence[StoredTokens], starts: NDArray[np.int64], num_words: int
) -> Array:
    """[num_words, num_layers, width] mean over each word's tokens, of unit length; zeros for a word of no tokens."""
    owners = [
        owner + start if owner >= 0 else -1
        for prompt, start in zip(prompts, starts.tolist(), strict=True)
        for owner in prompt.owners
    ]
    vectors = np.concatenate([each.vectors for each in tokens])
    is_part = np.array(owners) == np.arange(num_words)[:, None]  # [words, tokens]
    sums = (is_part.astype(np.float32) @ vectors.reshape(len(vectors), -1)).reshape(num_words, *vectors.shape[1:])
    lengths = np.sqrt(np.einsum("wld,wld->wl", sums, sums))
    unit: Array = sums / np.maximum(lengths, np.float32(_TINY))[..., None]
    return unit
