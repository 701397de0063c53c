"""How well the words of two prompts explain each other, layer by layer; and which candidate explains the query better.

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
_NUM_WORST = 3
_ALIGNED = 0.5
_DISTINCT = 0.25
_NO_MASS = 1e-3
_FAR = np.float32(-2)  # less than any similarity


class Alignment:
    """The alignment of all texts, in some layers at once.

    Args:
        texts: the query and its candidates.
        layers: which of the stored layers.
    """

    def __init__(self, texts: CandidateSet, layers: tuple[int, ...]) -> None:
        vectors = texts.vectors.transpose(1, 0, 2)[list(layers)]
        self._texts = texts
        self._similarity = vectors @ vectors.transpose(0, 2, 1)  # [layers, words, words]
        self._explained = np.maximum.reduceat(self._similarity, texts.starts, axis=2)  # [layers, words, texts]
        self._missing = (1 - self._explained) * texts.weights[:, None]

    def pairs(self) -> list[Array]:
        """[layers, K] for each of `PAIR_NAMES`: the query against each candidate, whichever way round."""
        texts, size = self._texts, self._texts.num_query_words
        explained, in_query = self._explained[:, :size, 1:], self._explained[:, :, 0]
        missing, missing_in_query = self._missing[:, :size, 1:], self._missing[:, :, 0]
        query_side = (
            np.tensordot(explained, texts.query_weights, (1, 0)) / texts.query_weights.sum(),
            missing.max(axis=1),
            (missing**2).sum(axis=1),
            np.sort(missing, axis=1)[:, -_NUM_WORST:].mean(axis=1),
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
        """[layers, K] for each of `CONTRAST_NAMES`: each candidate against those of other clusters."""
        texts, size = self._texts, self._texts.num_query_words
        explained, weights = self._explained[:, :size, 1:], texts.query_weights
        gains = (explained[..., :, None] - explained[..., None, :]) * weights[:, None, None]  # [layers, words, K, K]
        advantage = gains.sum(axis=1) / weights.sum()
        mass, support = self._distinction()
        unsupported = mass * (1 - support)
        least_gain = gains.min(axis=1)
        # Of a pair of candidates, what is lost one way is won the other way.
        most_gain = -least_gain.transpose(0, 2, 1)
        support_gap, unsupported_gap = support - _turned(support), _turned(unsupported) - unsupported
        over_others = self._least_over_others(
            [advantage, least_gain, most_gain, support, mass, support_gap, unsupported_gap],
            [0.3, 0.1, 0.5, 1.0, 5.0, 0.5, 0.5],
        )
        elsewhere = ((explained.max(axis=2, keepdims=True) - explained) * weights[:, None]).max(axis=1)
        lowest, least, most, *others = over_others
        return [lowest, self._mean_over_others(advantage, 0.3), -least, most, *others, elsewhere]

    def _distinction(self) -> tuple[Array, Array]:
        """[layers, K, other K]: weight of the words that the other lacks, and how far the query supports them."""
        texts = self._texts
        distinct = np.where(self._missing > _DISTINCT, self._missing, 0)[:, :, 1:]
        both = np.stack([distinct, distinct * self._explained[:, :, :1]])
        mass, supported = np.add.reduceat(both, texts.starts, axis=2)[:, :, 1:]
        mass = mass + np.float32(_NO_MASS)
        return mass, np.where(mass < 2 * _NO_MASS, np.float32(0.5), supported / mass)

    def _least_over_others(self, values: list[Array], defaults: list[float]) -> list[Array]:
        """Each [layers, K, other K] reduced over the candidates of other clusters; a default where there are none."""
        is_other = ~self._texts.is_same
        found = np.where(is_other, np.stack(values), np.inf).min(axis=-1)
        has_other = is_other.any(axis=1)
        return list(np.where(has_other, found, np.array(defaults)[:, None, None]).astype(np.float32))

    def _mean_over_others(self, values: Array, default: float) -> Array:
        is_other = ~self._texts.is_same
        count = is_other.sum(axis=1)
        found = (values * is_other).sum(axis=-1) / np.maximum(count, 1)
        return np.where(count > 0, found, default).astype(np.float32)

    def _three_worst(self, missing: Array) -> Array:
        texts = self._texts
        laid_out = np.where(texts.is_word, missing[:, texts.slots], _FAR)  # [layers, K, longest]
        worst = np.sort(laid_out, axis=-1)[..., -_NUM_WORST:]
        counts = np.minimum(texts.lengths[1:], _NUM_WORST)
        found: Array = np.where(worst > _FAR, worst, 0).sum(axis=-1) / counts
        return found

    def _disorder(self) -> Array:
        """Share of the query's content word pairs whose counterparts stand in the other order; -1: fewer than two."""
        texts, size = self._texts, self._texts.num_query_words
        words = self._similarity[:, :size][:, content(texts.query_weights)]  # [layers, content words, words]
        laid_out = np.where(texts.is_word, words[:, :, texts.slots], _FAR)  # [layers, content words, K, longest]
        counterpart = laid_out.argmax(axis=-1)
        has_one = laid_out.max(axis=-1) > _ALIGNED
        first, second = np.triu_indices(words.shape[1], 1)
        both = has_one[:, first] & has_one[:, second]  # [layers, pairs, K]
        num_pairs = both.sum(axis=1)
        swapped = (both & (counterpart[:, first] > counterpart[:, second])).sum(axis=1)
        return np.where(num_pairs > 0, swapped / np.maximum(num_pairs, 1), -1).astype(np.float32)


def _turned(values: Array) -> Array:
    return values.transpose(0, 2, 1)
