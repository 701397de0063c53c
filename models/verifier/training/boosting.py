"""Fits boosted trees and writes them as the arrays that the service walks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from penstock_cache.semantic.verification.trees import MAX_LEAVES, Trees

SETTINGS = {
    "max_iter": 250,
    "learning_rate": 0.07,
    "max_leaf_nodes": 20,
    "min_samples_leaf": 60,
    "l2_regularization": 5.0,
    "max_features": 0.3,
    "early_stopping": False,
}


def fit_trees(features: NDArray[np.float32], serves: NDArray[np.bool_], *, seed: int = 0) -> Trees:
    """Trees whose sum is the logit that a candidate's answer serves."""
    model = HistGradientBoostingClassifier(**SETTINGS, random_state=seed).fit(features, serves)
    return as_trees(model)


def as_trees(model: HistGradientBoostingClassifier) -> Trees:
    """The fitted trees, each filled up to the most splits that one can have."""
    tables = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001 - there is no other way to them
    num_splits = SETTINGS["max_leaf_nodes"] - 1
    feature = np.zeros((num_splits, len(tables)), np.int16)
    threshold = np.full((num_splits, len(tables)), np.inf, np.float32)
    right = np.zeros((num_splits, len(tables)), np.uint32)
    value = np.zeros((len(tables), MAX_LEAVES), np.float32)
    for number, table in enumerate(tables):
        splits, leaves = _in_order(table, 0, 0)
        for row, (node, left_leaves) in enumerate(splits):
            feature[row, number] = table["feature_idx"][node]
            threshold[row, number] = _below(table["num_threshold"][node])
            right[row, number] = ~np.uint32(left_leaves)
        value[number, : len(leaves)] = table["value"][leaves]
    return Trees(feature, threshold, right, value, float(model._baseline_prediction.item()))  # noqa: SLF001


def _in_order(table: NDArray[Any], node: int, num_before: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Below a node: splits, each with the bits of the leaves on its left, and leaves from left to right."""
    if table["is_leaf"][node]:
        return [], [node]
    splits, leaves = _in_order(table, table["left"][node], num_before)
    others, more = _in_order(table, table["right"][node], num_before + len(leaves))
    bits = ((1 << len(leaves)) - 1) << num_before
    return [(node, bits), *splits, *others], [*leaves, *more]


def _below(threshold: float) -> np.float32:
    """The nearest float32 that is no greater: a threshold lies between two values that must stay on their sides."""
    rounded = np.float32(threshold)
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded
