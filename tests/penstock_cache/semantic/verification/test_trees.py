"""Boosted trees as arrays."""

import numpy as np

from penstock_cache.semantic.verification.trees import MAX_LEAVES, Trees


def test_each_row_adds_the_leaf_it_reaches_in_every_tree() -> None:
    """A value equal to the threshold goes left, as in training."""
    value = np.zeros((2, MAX_LEAVES), np.float32)
    value[0, :3], value[1, 0] = (1, 10, 100), 1000
    trees = Trees(
        # The first tree asks for feature 1, then on the right for feature 0; the second one has a leaf alone.
        feature=np.array([[1, 0], [0, 0]], np.int16),
        threshold=np.array([[0.5, np.inf], [2.0, np.inf]], np.float32),
        right=np.array([[0b110, 0], [0b101, 0]], np.uint32),
        value=value,
        base=0.25,
    )
    rows = np.array([[9, 0.5], [2, 0.6], [2.1, 0.6]], np.float32)
    assert trees.logits(rows).tolist() == [1001.25, 1010.25, 1100.25]
