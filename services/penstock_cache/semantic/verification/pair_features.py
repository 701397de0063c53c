"""All features of a query's candidates."""

import numpy as np

from penstock_cache.semantic.verification import alignment, lexical, neighbourhood
from penstock_cache.semantic.verification.candidate_set import Array, CandidateSet


def feature_names(layers: tuple[int, ...]) -> list[str]:
    """Of the columns of `pair_features`."""
    aligned = (*alignment.PAIR_NAMES, *alignment.CONTRAST_NAMES)
    return [*neighbourhood.NAMES, *(f"layer{layer}_{name}" for layer in layers for name in aligned), *lexical.NAMES]


def pair_features(texts: CandidateSet, layers: tuple[int, ...]) -> Array:
    """float32 [K, num_features]; `layers` are places among the stored layers."""
    aligned = alignment.Alignment(texts, layers)
    by_layer = np.stack([*aligned.pairs(), *aligned.contrasts()], axis=1)  # [layers, names, K]
    columns = np.concatenate([np.stack(neighbourhood.neighbourhood(texts)), by_layer.reshape(-1, by_layer.shape[-1])])
    query, *candidates = texts.prompts
    words = np.array([lexical.lexical(query, candidate) for candidate in candidates], np.float32)
    return np.concatenate([columns.T, words], axis=1).astype(np.float32)
