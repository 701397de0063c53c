"""Boosted trees as arrays."""

import numpy as np

from penstock_cache.semantic.verification.trees import Trees


def test_each_row_adds_the_leaf_it_reaches_in_every_tree() -> None:
    """A value equal to the threshold goes left, as in training."""
    trees = Trees(
        feature=np.array([[1, -1, 0, -1, -1], [-1, -1, -1, -1, -1]], np.int16),
        threshold=np.array([[0.5, 0, 2.0, 0, 0], [0, 0, 0, 0, 0]], np.float32),
        left=np.array([[1, 1, 3, 3, 4], [0, 0, 0, 0, 0]], np.int16),
        right=np.array([[2, 1, 4, 3, 4], [0, 0, 0, 0, 0]], np.int16),
        value=np.array([[0, 1, 0, 10, 100], [1000, 0, 0, 0, 0]], np.float32),
        base=0.25,
    )
    rows = np.array([[9, 0.5], [2, 0.6], [2.1, 0.6]], np.float32)
    assert trees.logits(rows).tolist() == [1001.25, 1010.25, 1100.25]
