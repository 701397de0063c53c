"""A query and its candidates laid out as arrays, so that features are made of all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.prompt_words import PromptWords

Array = NDArray[np.float32]
_CONTENT = 0.2


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """Words of all texts one behind the other: text 0 is the query, text 1 + k is candidate k.

    Attributes:
        prompts: the query first.
        lengths, starts: [1 + K] words of each text.
        weights: float32 [num_words].
        vectors: float32 [num_words, num_layers, width].
        cosines: float32 [K] of the sentence vectors with the query's.
        is_same: bool [K, K], which candidates are known to share one answer.
    """

    prompts: Sequence[PromptWords]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]
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
        """Sums over each candidate's words, of [num_words, ...] values."""
        summed: Array = np.add.reduceat(values, self.starts, axis=0)[1:]
        return summed

    def maxima(self, values: Array) -> Array:
        """Maxima over each candidate's words."""
        found: Array = np.maximum.reduceat(values, self.starts, axis=0)[1:]
        return found


def candidate_set(prompts: Sequence[PromptWords], cosines: Array, clusters: Sequence[str]) -> CandidateSet:
    """Lays out a query, which is first in `prompts`, and its candidates."""
    lengths = np.array([len(prompt.weights) for prompt in prompts])
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    known = np.array([numbers[cluster] for cluster in clusters])
    return CandidateSet(
        prompts=prompts,
        lengths=lengths,
        starts=np.concatenate([[0], np.cumsum(lengths)[:-1]]),
        weights=np.concatenate([prompt.weights for prompt in prompts]),
        vectors=np.concatenate([prompt.vectors for prompt in prompts]),
        cosines=cosines,
        is_same=known[:, None] == known[None, :],
    )


def content(weights: Array) -> NDArray[np.bool_]:
    """Which words carry content."""
    return weights > _CONTENT
