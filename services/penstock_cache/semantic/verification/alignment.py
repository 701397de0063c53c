"""How well the words of two prompts explain each other, in one layer; and which candidate explains the query better.

A word is explained by a text as far as its nearest word there goes. A paraphrase leaves no word of weight unexplained
on either side. A near miss leaves one; that another candidate explains it is the strongest evidence against this one.
"""

import numpy as np

from penstock_cache.semantic.verification.candidate_set import Array, CandidateSet, content

PAIR_NAMES = (
    "covered_min", "covered_max", "worst_min", "worst_max", "missing_min", "missing_max", "three_worst_min",
    "three_worst_max", "disorder",
)  # fmt: skip
CONTRAST_NAMES = (
    "advantage_min", "advantage_mean", "lost_word", "won_word", "support_min", "own_mass", "support_gap",
    "unsupported_gap", "word_explained_elsewhere",
)  # fmt: skip
_ALIGNED = 0.5
_DISTINCT = 0.25
_NO_MASS = 1e-3


class LayerAlignment:
    """The alignment of all texts in one layer.

    Args:
        texts: the query and its candidates.
        layer: which of the stored layers.
    """

    def __init__(self, texts: CandidateSet, layer: int) -> None:
        vectors = texts.vectors[:, layer]
        self._texts = texts
        self._similarity = vectors @ vectors.T  # [words, words]
        self._explained = np.maximum.reduceat(self._similarity, texts.starts, axis=1)  # [words, texts]
        self._missing = (1 - self._explained) * texts.weights[:, None]

    def pairs(self) -> list[Array]:
        """One column [K] for each of `PAIR_NAMES`: the query against each candidate, whichever way round."""
        texts, size = self._texts, self._texts.num_query_words
        explained, in_query = self._explained[:size, 1:], self._explained[:, 0]
        missing, missing_in_query = self._missing[:size, 1:], self._missing[:, 0]
        weights = texts.query_weights[:, None]
        query_side = (
            (explained * weights).sum(axis=0) / weights.sum(),
            missing.max(axis=0),
            (missing**2).sum(axis=0),
            np.sort(missing, axis=0)[-min(3, size) :].mean(axis=0),
        )
        candidate_side = (
            texts.sums(in_query * texts.weights) / texts.sums(texts.weights),
            texts.maxima(missing_in_query),
            texts.sums(missing_in_query**2),
            self._three_worst(missing_in_query),
        )
        columns: list[Array] = []
        for one, other in zip(query_side, candidate_side, strict=True):
            columns += [np.minimum(one, other), np.maximum(one, other)]
        return [*columns, self._disorder()]

    def contrasts(self) -> list[Array]:
        """One column [K] for each of `CONTRAST_NAMES`: each candidate against those of other clusters."""
        texts, size = self._texts, self._texts.num_query_words
        explained, weights = self._explained[:size, 1:], texts.query_weights
        gains = (explained[:, :, None] - explained[:, None, :]) * weights[:, None, None]  # [words, K, other K]
        advantage = gains.sum(axis=0) / weights.sum()
        mass, support = self._distinction()
        unsupported = mass * (1 - support)
        elsewhere = ((explained.max(axis=1, keepdims=True) - explained) * weights[:, None]).max(axis=0)
        return [
            self._over_others(advantage, "min", 0.3),
            self._over_others(advantage, "mean", 0.3),
            self._over_others((-gains).max(axis=0), "max", -0.1),
            self._over_others(gains.max(axis=0), "min", 0.5),
            self._over_others(support, "min", 1.0),
            self._over_others(mass, "min", 5.0),
            self._over_others(support - support.T, "min", 0.5),
            self._over_others(unsupported.T - unsupported, "min", 0.5),
            elsewhere,
        ]

    def _distinction(self) -> tuple[Array, Array]:
        """[K, other K] weight of a candidate's words that the other lacks, and how far the query supports them."""
        texts = self._texts
        distinct = np.where(self._missing > _DISTINCT, self._missing, 0)[:, 1:]
        mass = texts.sums(distinct) + _NO_MASS
        support = texts.sums(distinct * self._explained[:, :1]) / mass
        return mass, np.where(mass < 2 * _NO_MASS, 0.5, support).astype(np.float32)

    def _over_others(self, values: Array, kind: str, default: float) -> Array:
        """Reduces [K, other K] over the candidates of other clusters; `default` where there are none."""
        is_other = ~self._texts.is_same
        if kind == "mean":
            count = is_other.sum(axis=1)
            found = np.where(is_other, values, 0).sum(axis=1) / np.maximum(count, 1)
        elif kind == "min":
            found = np.where(is_other, values, np.inf).min(axis=1)
        else:
            found = np.where(is_other, values, -np.inf).max(axis=1)
        return np.where(is_other.any(axis=1), found, default).astype(np.float32)

    def _three_worst(self, missing: Array) -> Array:
        texts = self._texts
        parts = np.split(missing, texts.starts[1:])[1:]
        return np.array([np.sort(part)[-3:].mean() for part in parts], np.float32)

    def _disorder(self) -> Array:
        """Share of the query's content word pairs whose counterparts stand in the other order; -1: fewer than two."""
        texts, size = self._texts, self._texts.num_query_words
        is_content = content(texts.query_weights)
        found = []
        for block in np.split(self._similarity[:size], texts.starts[1:], axis=1)[1:]:
            counterpart = block.argmax(axis=1)[is_content & (block.max(axis=1) > _ALIGNED)]
            num_pairs = len(counterpart) * (len(counterpart) - 1) / 2
            swapped = np.triu(counterpart[:, None] > counterpart[None, :], 1).sum()
            found.append(swapped / num_pairs if num_pairs else -1.0)
        return np.array(found, np.float32)
