"""Fits boosted trees and writes them as the arrays that the service walks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from penstock_cache.semantic.verification.trees import Trees

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
    """The fitted trees, padded to one size."""
    tables = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001 - there is no other way to them
    size = max(len(table) for table in tables)
    return Trees(
        feature=_padded([np.where(table["is_leaf"], -1, table["feature_idx"]) for table in tables], size, -1, np.int16),
        threshold=_padded([_below(table["num_threshold"]) for table in tables], size, 0, np.float32),
        left=_padded([_next(table, "left") for table in tables], size, 0, np.int16),
        right=_padded([_next(table, "right") for table in tables], size, 0, np.int16),
        value=_padded([np.where(table["is_leaf"], table["value"], 0) for table in tables], size, 0, np.float32),
        base=float(model._baseline_prediction.item()),  # noqa: SLF001
    )


def _below(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The nearest float32 that is no greater: a threshold lies between two values that must stay on their sides."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _next(table: NDArray[Any], side: str) -> NDArray[np.int64]:
    """A leaf leads to itself."""
    return np.where(table["is_leaf"], np.arange(len(table)), table[side]).astype(np.int64)


def _padded(tables: list[NDArray[Any]], size: int, filler: float, dtype: type[np.generic]) -> NDArray[Any]:
    out = np.full((len(tables), size), filler, dtype)
    for row, table in zip(out, tables, strict=True):
        row[: len(table)] = table
    return out
