"""Token vectors of all prompts, and the groups (query, stored neighbours) that a head learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from head_network import Batch
from numpy.typing import NDArray
from prompts import Prompts
from replays import NUM_CANDIDATES

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.verification.alignment_heads import RARITY_STEP
from penstock_cache.semantic.verification.token_codec import TokenCodec

NUM_WORDPIECES = 30_522
MAX_TOKENS = 32
WORLD_FAMILIES = 110
"""Families that share a store in training: about as many as the development set has near misses and lone classes of."""
KNOWN_SHARE = 0.6
"""Of the candidates, whose cluster is known: in service it is what was explored and found equal."""
Array = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Groups:
    """Queries with up to NUM_CANDIDATES stored neighbours each; -1 where there are fewer.

    Attributes:
        clusters: equal where an answer is known to be shared; a negative number of its own where nothing is known.
    """

    queries: Numbers
    candidates: Numbers
    clusters: Numbers


class Corpus:
    """All prompts as the service stores them; token vectors one behind the other.

    Args:
        prompts: with their labels.
        encoded: of each.
        codec: reads the details.
        counted: numbers of the prompts that the rarity of wordpieces is counted in.
    """

    def __init__(self, prompts: Prompts, encoded: Sequence[EncodedPrompt], codec: TokenCodec, counted: Numbers) -> None:
        stored = [codec.tokens(prompt.detail) for prompt in encoded]
        self.classes, self.families = prompts.classes, prompts.families
        self.vectors: Array = np.stack([prompt.vector for prompt in encoded])
        self.rarity_bytes = rarity_bytes(np.concatenate([stored[number].ids for number in counted]))
        self._tokens = np.concatenate([tokens.vectors.astype(np.float16) for tokens in stored])
        ids = np.concatenate([tokens.ids for tokens in stored])
        self._rarity: Array = self.rarity_bytes[ids] * np.float32(RARITY_STEP)
        self._starts = np.cumsum([0, *(len(tokens.ids) for tokens in stored)])

    def lengths(self, numbers: Numbers) -> Numbers:
        """Tokens of each prompt that count; 0 for number -1."""
        lengths = np.minimum(self._starts[numbers + 1] - self._starts[numbers], MAX_TOKENS)
        return np.where(numbers >= 0, lengths, 0)

    def epoch(self, members: Numbers, rng: np.random.Generator, limit: int) -> Groups:
        """Families dealt into worlds of their own, each replayed once with everything stored."""
        families = rng.permutation(np.unique(self.families[members]))
        worlds = [families[start : start + WORLD_FAMILIES] for start in range(0, len(families), WORLD_FAMILIES)]
        parts = [self._replay(members[np.isin(self.families[members], world)], rng, limit) for world in worlds]
        return Groups(
            np.concatenate([part.queries for part in parts]),
            np.concatenate([part.candidates for part in parts]),
            np.concatenate([part.clusters for part in parts]),
        )

    def batch(self, groups: Groups, rows: Numbers) -> Batch:
        """Tensors of some groups."""
        queries, candidates = groups.queries[rows], groups.candidates[rows]
        vectors = self.vectors[candidates] * (candidates >= 0)[..., None]
        cosines = np.einsum("bd,bkd->bk", self.vectors[queries], vectors)
        between = np.einsum("bid,bjd->bij", vectors, vectors)
        arrays = (*self._padded(queries), *self._padded(candidates), cosines, between, groups.clusters[rows])
        return Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def serves(self, groups: Groups, rows: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether each candidate's answer serves the query, and whether there is a candidate."""
        candidates = groups.candidates[rows]
        same = self.classes[candidates] == self.classes[groups.queries[rows]][:, None]
        return torch.from_numpy(same.astype(np.float32)), torch.from_numpy(candidates >= 0)

    def _replay(self, members: Numbers, rng: np.random.Generator, limit: int) -> Groups:
        order = rng.permutation(members)
        similarity = self.vectors[order] @ self.vectors[order].T
        similarity[np.triu_indices(len(order))] = -2.0
        nearest = np.argsort(-similarity, axis=1)[1:, : min(limit, NUM_CANDIDATES)]
        is_there = np.take_along_axis(similarity[1:], nearest, 1) > -2.0
        candidates = np.where(is_there, order[nearest], -1)
        is_known = rng.random(candidates.shape) < KNOWN_SHARE
        clusters = np.where(is_known, self.classes[candidates], -1 - np.arange(candidates.shape[1])[None, :])
        return Groups(order[1:], candidates, clusters)

    def _padded(self, numbers: Numbers) -> tuple[Array, Array, NDArray[np.bool_]]:
        flat = numbers.reshape(-1)
        lengths = self.lengths(flat)
        slots = np.arange(max(1, lengths.max()))[None, :]
        mask = slots < lengths[:, None]
        index = np.where(mask, self._starts[flat][:, None] + slots, 0)
        shape = (*numbers.shape, slots.shape[1])
        tokens = self._tokens[index].astype(np.float32).reshape(*shape, *self._tokens.shape[1:])
        return tokens, self._rarity[index].reshape(shape), mask.reshape(shape)


def rarity_bytes(ids: Numbers) -> NDArray[np.uint8]:
    """One byte a wordpiece, in steps of `RARITY_STEP`, from its count in the training text."""
    rarity = np.log(len(ids) / (np.bincount(ids, minlength=NUM_WORDPIECES) + 1.0)) / 12.0
    return np.clip(np.rint(rarity / RARITY_STEP), 0, 255).astype(np.uint8)
