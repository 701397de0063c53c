"""A query and its candidates as padded token arrays, with what is found out about them before any weights come in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.dense import FAR, Array, softmax
from penstock_cache.semantic.verification.token_codec import StoredTokens

MAX_TOKENS = 64
_SIBLING_SHARPNESS = 8.0


@dataclass(frozen=True, slots=True)
class CandidateTokens:
    """One query of n tokens and K candidates of up to m tokens.

    Attributes:
        query, stored: [n, layers, width] and [K, m, layers, width], unit vectors.
        query_rarity, stored_rarity: [n] and [K, m].
        query_mask, stored_mask: [n] and [K, m], false for padding.
        cosines, stored_cosines: [K] and [K, K], of sentence vectors: with the query, and with each other.
        is_same: [K, K], which candidates are known to share one answer.
        sims: [K, layers, n, m], -1 for padding.
        novelty: [K, K, m]: how far token t of candidate i is from all of candidate j.
        nearest: [K, K, m]: the token of candidate j that is nearest to it.
        siblings: [K, K]: how much candidate j speaks for or against i; 0 for i itself and what shares its answer.
    """

    query: Array
    query_rarity: Array
    query_mask: NDArray[np.bool_]
    stored: Array
    stored_rarity: Array
    stored_mask: NDArray[np.bool_]
    cosines: Array
    stored_cosines: Array
    is_same: NDArray[np.bool_]
    sims: Array
    novelty: Array
    nearest: NDArray[np.int64]
    siblings: Array


def candidate_tokens(
    prompts: Sequence[StoredTokens], vectors: Array, is_same: NDArray[np.bool_], rarity: Array
) -> CandidateTokens:
    """Lays out a query, which is first in `prompts` and `vectors`, and its candidates; `rarity` is by wordpiece id."""
    query = _padded(prompts[:1], rarity)
    stored = _padded(prompts[1:], rarity)
    stored_cosines = vectors[1:] @ vectors[1:].T
    novelty, nearest = _against_each_other(stored[0], stored[2])
    sims = similarities(query[0][0], stored[0])
    return CandidateTokens(
        query=query[0][0],
        query_rarity=query[1][0],
        query_mask=query[2][0],
        stored=stored[0],
        stored_rarity=stored[1],
        stored_mask=stored[2],
        cosines=vectors[1:] @ vectors[0],
        stored_cosines=stored_cosines,
        is_same=is_same,
        sims=masked_sims(sims, query[2][0], stored[2]),
        novelty=novelty,
        nearest=nearest,
        siblings=_siblings(stored_cosines, is_same, np.asarray(stored[2].any(axis=1))),
    )


def similarities(query: Array, stored: Array) -> Array:
    """[K, c, n, m] of [n, c, d] and [K, m, c, d]."""
    count, length, channels, width = stored.shape
    flat = query.transpose(1, 0, 2) @ stored.transpose(2, 3, 0, 1).reshape(channels, width, count * length)
    return flat.reshape(channels, -1, count, length).transpose(2, 0, 1, 3)


def masked_sims(sims: Array, query_mask: NDArray[np.bool_], stored_mask: NDArray[np.bool_]) -> Array:
    """Similarities with -1 wherever one side is padding."""
    result: Array = np.where(query_mask[None, None, :, None] & stored_mask[:, None, None, :], sims, np.float32(-1))
    return result


def _padded(prompts: Sequence[StoredTokens], rarity: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    lengths = np.array([min(len(prompt.ids), MAX_TOKENS) for prompt in prompts])
    mask = np.arange(max(1, lengths.max()))[None, :] < lengths[:, None]
    vectors = np.zeros((*mask.shape, *prompts[0].vectors.shape[1:]), np.float32)
    rarities = np.zeros(mask.shape, np.float32)
    vectors[mask] = np.concatenate([prompt.vectors[:MAX_TOKENS] for prompt in prompts])
    rarities[mask] = rarity[np.concatenate([prompt.ids[:MAX_TOKENS] for prompt in prompts])]
    return vectors, rarities, mask


def _against_each_other(stored: Array, mask: NDArray[np.bool_]) -> tuple[Array, NDArray[np.int64]]:
    count, length, layers, width = stored.shape
    flat = stored.reshape(count * length, layers * width)
    near = (flat @ flat.T).reshape(count, length, count, length)
    near[:, :, ~mask] = -layers
    nearest = near.argmax(axis=-1)
    highest = np.take_along_axis(near, nearest[..., None], axis=-1)[..., 0] / np.float32(layers)
    novelty: Array = np.clip(1 - highest, 0, 1)
    return novelty.transpose(0, 2, 1), nearest.transpose(0, 2, 1)


def _siblings(stored_cosines: Array, is_same: NDArray[np.bool_], is_there: NDArray[np.bool_]) -> Array:
    is_other = ~is_same & is_there[None, :] & ~np.eye(len(is_same), dtype=bool)
    shares = softmax(np.where(is_other, np.float32(_SIBLING_SHARPNESS) * stored_cosines, FAR))
    result: Array = shares * is_other
    return result
