"""Boosted trees as arrays, all of them walked at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAF = -1


@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble of binary trees, padded to one size; node 0 is a tree's root.

    Attributes:
        feature: int16 [num_trees, num_nodes], what a node looks at, -1 in a leaf.
        threshold: float32, the greatest value that goes left.
        left, right: int16, next nodes; of a leaf, itself.
        value: float32, what a leaf adds.
        base: what all start from.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: NDArray[np.float32]
    base: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows] of [rows, num_features]."""
        trees = np.arange(len(self.feature))[None, :]
        node = np.zeros((len(features), len(self.feature)), np.int64)
        rows = np.arange(len(features))[:, None]
        while True:
            feature = self.feature[trees, node]
            if (feature == _LEAF).all():
                break
            is_left = features[rows, np.maximum(feature, 0)] <= self.threshold[trees, node]
            node = np.where(is_left, self.left[trees, node], self.right[trees, node]).astype(np.int64)
        logits: NDArray[np.float32] = self.value[trees, node].sum(axis=1) + np.float32(self.base)
        return logits
