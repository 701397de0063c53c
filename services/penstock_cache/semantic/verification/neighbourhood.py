"""Where a candidate stands among the others, by the sentence vectors alone."""

import numpy as np

from penstock_cache.semantic.verification.candidate_set import Array, CandidateSet

NAMES = ("cosine", "rank", "gap_to_best_other", "gap_to_mean", "num_near", "cluster_size", "cluster_cosine")
_NEAR = 0.05


def neighbourhood(texts: CandidateSet) -> list[Array]:
    """One column [K] for each of `NAMES`."""
    cosines = texts.cosines
    rank = np.empty(len(cosines), np.float32)
    rank[np.argsort(-cosines, kind="stable")] = np.arange(len(cosines))
    others = np.where(np.eye(len(cosines), dtype=bool), -np.inf, cosines)
    best_other = others.max(axis=1) if len(cosines) > 1 else np.zeros(1, np.float32)
    num_near = (np.abs(cosines[:, None] - cosines) < _NEAR).sum(axis=1) - 1
    in_cluster = np.where(texts.is_same, cosines, -np.inf).max(axis=1)
    columns = (
        cosines, rank, cosines - best_other, cosines - cosines.mean(), num_near, texts.is_same.sum(axis=1), in_cluster
    )  # fmt: skip
    return [np.asarray(column, np.float32) for column in columns]
