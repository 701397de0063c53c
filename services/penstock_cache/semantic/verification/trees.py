"""Boosted trees as arrays, all asked at once: each split rules out leaves, and the first that is left is the answer.

QuickScorer (Lucchese et al. 2015): of the leaves that no split rules out by sending the row to the right, the leftmost
is the one it reaches, so that splits can be asked in any order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_LEAVES = 32
_ALL_LEAVES = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble of binary trees with the same number of splits each; a tree of fewer has some that rule out nothing.

    Attributes:
        feature: int16 [num_splits, num_trees], what a split looks at.
        threshold: float32, the greatest value that goes left.
        right: uint32, bit k: leaf k, counted from the left, remains for a row that goes right.
        value: float32 [num_trees, MAX_LEAVES], what a leaf adds.
        base: what all start from.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    right: NDArray[np.uint32]
    value: NDArray[np.float32]
    base: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows] of [rows, num_features]."""
        seen = features.take(self.feature.ravel(), axis=1).reshape(len(features), *self.feature.shape)
        remaining = np.bitwise_and.reduce(np.where(seen > self.threshold, self.right, _ALL_LEAVES), axis=1)
        lowest_bit = remaining & (~remaining + np.uint32(1))
        leaf = np.frexp(lowest_bit.astype(np.float32))[1] - 1  # [rows, num_trees]
        logits: NDArray[np.float32] = self.value[np.arange(len(self.value)), leaf].sum(axis=1) + np.float32(self.base)
        return logits
