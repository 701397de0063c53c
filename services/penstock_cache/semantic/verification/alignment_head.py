"""One head: aligns the tokens of a query with those of its candidates, and weighs what matches and what does not."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.candidate_tokens import CandidateTokens, masked_sims, similarities
from penstock_cache.semantic.verification.dense import FAR, Array, gelu, layer_norm, softmax

_HEAD_WIDTH = 16
_PRODUCT_SCALE, _DIFFERENCE_SCALE = 4, 2
_RARITY_WEIGHT = np.float32(3)
_LENGTH_SCALE = np.float32(20)


class AlignmentHead:
    """A small network over frozen token vectors.

    Args:
        weights: as training names them.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        size = weights["compare.weight"].shape[1] // 2
        scale = np.repeat(np.array([_PRODUCT_SCALE, _DIFFERENCE_SCALE], np.float32), size)
        self._weights = {**weights, "compare.weight": weights["compare.weight"] * scale}
        self._sum_of_view = np.repeat(np.eye(size // _HEAD_WIDTH, dtype=np.float32), _HEAD_WIDTH, axis=0)
        self._channel_shares = softmax(weights["mix"])[None, :, None, None]

    def logits(self, tokens: CandidateTokens) -> Array:
        """[K] that a candidate's answer serves the query."""
        query, stored = self._views(tokens.query), self._views(tokens.stored)
        learned = masked_sims(similarities(query, stored), tokens.query_mask, tokens.stored_mask)
        sims = np.concatenate([tokens.sims, learned], axis=1)  # [K, channels, n, m]
        mixed = (sims * self._channel_shares).sum(axis=1) * self._weights["sharpness"]
        query_flat = np.broadcast_to(query.reshape(1, len(query), -1), (len(stored), len(query), query[0].size))
        stored_flat = stored.reshape(*stored.shape[:2], -1)
        from_query = self._from_query(tokens, sims, self._aligned(mixed, query_flat, stored_flat, tokens.stored_mask))
        back = np.broadcast_to(tokens.query_mask, (len(stored), len(query)))
        from_stored = self._from_stored(
            tokens, sims, self._aligned(mixed.transpose(0, 2, 1), stored_flat, query_flat, back)
        )
        pooled = np.concatenate([from_query, from_stored, _overall(tokens)], axis=-1)
        x = gelu(self._linear("first", pooled))
        x = np.concatenate([x, *self._against(x, tokens)], axis=-1)
        result: Array = self._linear("last.3", gelu(self._linear("last.0", x)))[:, 0]
        return result

    def _linear(self, name: str, x: Array) -> Array:
        result: Array = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"].T
        result += self._weights[f"{name}.bias"]
        return result.reshape(*x.shape[:-1], -1)

    def _views(self, tokens: Array) -> Array:
        """[..., heads, head width], each of unit length."""
        flat = self._linear("project", tokens.reshape(*tokens.shape[:-2], -1))
        views: Array = flat.reshape(*flat.shape[:-1], -1, _HEAD_WIDTH)
        views *= 1 / np.sqrt(np.einsum("...hd,...hd->...h", views, views)[..., None] + np.float32(1e-6))
        return views

    def _aligned(self, mixed: Array, own: Array, other: Array, mask: NDArray[np.bool_]) -> list[Array]:
        """For each token: how it compares with its counterpart."""
        counterpart = softmax(np.where(mask[:, None, :], mixed, FAR)) @ other
        size = own.shape[-1]
        compared = np.empty((*own.shape[:2], 2 * size), np.float32)
        product, difference = compared[..., :size], compared[..., size:]
        np.multiply(own, counterpart, out=product)
        np.subtract(own, counterpart, out=difference)
        np.abs(difference, out=difference)
        return [product @ self._sum_of_view, gelu(self._linear("compare", compared))]

    def _from_query(self, tokens: CandidateTokens, sims: Array, aligned: list[Array]) -> Array:
        best = sims.max(axis=3).transpose(0, 2, 1)  # [K, n, channels]
        rarity = np.broadcast_to(tokens.query_rarity, best.shape[:2])
        mask = np.broadcast_to(tokens.query_mask, best.shape[:2])
        return self._pooled("query_pool", [best, *aligned, _query_margins(best, tokens.siblings)], rarity, mask)

    def _from_stored(self, tokens: CandidateTokens, sims: Array, aligned: list[Array]) -> Array:
        best = sims.max(axis=2).transpose(0, 2, 1)  # [K, m, channels]
        features = [best, *aligned, _stored_margins(best, tokens)]
        return self._pooled("stored_pool", features, tokens.stored_rarity, tokens.stored_mask)

    def _pooled(self, pool: str, features: list[Array], rarity: Array, mask: NDArray[np.bool_]) -> Array:
        """[K, ...]: a token's features made one vector, then two weighted means, the mean and the maximum of them."""
        x = np.concatenate([*features, rarity[..., None]], axis=-1)
        x = layer_norm(x, self._weights[f"{pool}.norm.weight"], self._weights[f"{pool}.norm.bias"])
        x = gelu(self._linear(f"{pool}.second", gelu(self._linear(f"{pool}.first", x))))
        scores = self._linear(f"{pool}.weight", x) + _RARITY_WEIGHT * rarity[..., None]
        weighted = softmax(np.where(mask[..., None], scores, FAR), axis=1).transpose(0, 2, 1) @ x
        mean = (x * mask[..., None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1).astype(np.float32)
        highest = np.where(mask[..., None], x, np.float32(-1)).max(axis=1)
        return np.concatenate([weighted.reshape(len(x), -1), mean, highest], axis=-1)

    def _against(self, x: Array, tokens: CandidateTokens) -> tuple[Array, Array]:
        """Each candidate against every one: mean and maximum."""
        gap = tokens.cosines[:, None] - tokens.cosines[None, :]
        distance = np.sqrt(np.maximum(2 - 2 * tokens.stored_cosines, np.float32(1e-3)))
        same = tokens.is_same.astype(np.float32)
        seen = np.stack([gap, gap / distance, tokens.stored_cosines, same, tokens.siblings], axis=-1)
        weight, size = self._weights["pair.weight"].T, x.shape[1]
        own, other = x @ weight[:size], x @ weight[size : 2 * size]
        y = gelu(own[:, None] + other[None] + seen @ weight[2 * size :] + self._weights["pair.bias"])
        is_there = np.asarray(tokens.stored_mask.any(axis=1), np.float32)[None, :, None]
        mean: Array = (y * is_there).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1)
        highest: Array = (y * is_there - (1 - is_there)).max(axis=1)
        return mean, highest


def _query_margins(best: Array, siblings: Array) -> Array:
    """For each query token: its match here less its match in the siblings, weighted and in the best one."""
    elsewhere = np.tensordot(siblings, best, axes=1)
    has_sibling = (siblings.sum(axis=1) > 0)[:, None, None]
    highest = (best[None] + np.where(siblings == 0, FAR, 0)[..., None, None].astype(np.float32)).max(axis=1)
    margin = (best - elsewhere) * has_sibling
    top = np.where(has_sibling, best - highest, np.float32(0))
    flag = np.broadcast_to(has_sibling, (*best.shape[:2], 1)).astype(np.float32)
    return np.concatenate([margin, top, np.abs(margin.mean(axis=-1, keepdims=True)), flag], axis=-1)


def _stored_margins(best: Array, tokens: CandidateTokens) -> Array:
    """For each stored token: where siblings have another word, does the query side with this one?"""
    siblings, novelty = tokens.siblings, tokens.novelty
    counterpart = best[np.arange(len(best))[None, :, None], tokens.nearest]  # [K, K, m, channels]
    margin = (best[:, None] - counterpart) * novelty[..., None]
    weighted = (margin * siblings[:, :, None, None]).sum(axis=1)
    is_none = siblings == 0
    worst = np.where(is_none[..., None, None], np.float32(1), margin).min(axis=1)
    worst = np.where((~is_none).any(axis=1)[:, None, None], worst, np.float32(0))
    newness = (novelty * siblings[..., None]).sum(axis=1)
    least = np.where(is_none[..., None], np.float32(1), novelty).min(axis=1)
    return np.concatenate([4 * weighted, 4 * worst, newness[..., None], least[..., None]], axis=-1)


def _overall(tokens: CandidateTokens) -> Array:
    """[K, 5]: cosine, its distance from the best, lengths."""
    query_length = np.full(len(tokens.cosines), tokens.query_mask.sum(), np.float32)
    stored_length = tokens.stored_mask.sum(axis=1).astype(np.float32)
    lengths = [query_length, stored_length, np.abs(query_length - stored_length)]
    parts = [tokens.cosines, tokens.cosines - tokens.cosines.max(), *(length / _LENGTH_SCALE for length in lengths)]
    return np.stack(parts, axis=-1)
