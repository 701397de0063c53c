"""The heads that align the tokens of a query with those of its candidates."""

import math

import numpy as np
import pytest

from penstock_cache.semantic.verification.alignment_heads import AlignmentHeads
from penstock_cache.semantic.verification.candidate_tokens import candidate_tokens
from penstock_cache.semantic.verification.dense import Array, gelu
from penstock_cache.semantic.verification.token_codec import StoredTokens

LAYERS, WIDTH, VIEWS, TOKEN, HIDDEN, COMPARED = 2, 4, 16, 3, 4, 2
CHANNELS = LAYERS + 1
FEATURES = 3 * CHANNELS + 1 + COMPARED + 3
SHAPES = {
    "project": (VIEWS, LAYERS * WIDTH),
    "compare": (COMPARED, 2 * VIEWS),
    **{f"{pool}.first": (TOKEN, FEATURES) for pool in ("query_pool", "stored_pool")},
    **{f"{pool}.second": (TOKEN, TOKEN) for pool in ("query_pool", "stored_pool")},
    **{f"{pool}.weight": (2, TOKEN) for pool in ("query_pool", "stored_pool")},
    "first": (HIDDEN, 8 * TOKEN + 5),
    "pair": (HIDDEN, 2 * HIDDEN + 5),
    "last.0": (HIDDEN, 3 * HIDDEN),
    "last.3": (1, HIDDEN),
}


def head(seed: int) -> dict[str, Array]:
    """Small random weights of one head: one learned view beside two layers."""
    rng = np.random.default_rng(seed)
    weights = {"mix": rng.normal(size=CHANNELS), "sharpness": np.array(5.0)}
    for name, shape in SHAPES.items():
        weights |= {f"{name}.weight": rng.normal(size=shape) / 2, f"{name}.bias": rng.normal(size=shape[0]) / 2}
    for pool in ("query_pool", "stored_pool"):
        weights |= {f"{pool}.norm.weight": np.ones(FEATURES), f"{pool}.norm.bias": np.zeros(FEATURES)}
    return {name: array.astype(np.float32) for name, array in weights.items()}


def heads(*seeds: int) -> AlignmentHeads:
    """Voters over a vocabulary of ten."""
    weights = {
        f"head.{number}.{name}": array for number, seed in enumerate(seeds) for name, array in head(seed).items()
    }
    return AlignmentHeads({"rarity": np.arange(0, 200, 20, dtype=np.uint8), **weights})


def prompt(*ids: int) -> StoredTokens:
    """Each id has a direction of its own."""
    vectors = np.stack([np.random.default_rng(each).normal(size=(LAYERS, WIDTH)) for each in ids] or [np.zeros((0,))])
    vectors = vectors.reshape(len(ids), LAYERS, WIDTH).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return StoredTokens(np.array(ids, np.int64), np.zeros((len(ids), 2), np.int64), vectors / norms)


QUERY = prompt(1, 2, 3)
CANDIDATES = [prompt(1, 2, 4), prompt(5, 2, 3, 6, 7), prompt(8)]
VECTORS = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
UNKNOWN = np.eye(3, dtype=bool)


def logits(voters: AlignmentHeads, candidates: list[StoredTokens], rows: list[int], is_same: object = UNKNOWN) -> Array:
    """Of the candidates, whose sentence vectors are these rows."""
    return voters.logits([QUERY, *candidates], VECTORS[[0, *rows]], np.asarray(is_same))


def test_a_head_computes_what_its_training_computes() -> None:
    """The weights mean something only in the very arithmetic that they were trained in."""
    assert logits(heads(0), CANDIDATES, [1, 2, 3]) == pytest.approx([0.21293, -0.72574, -1.25972], abs=1e-4)


def test_the_order_of_candidates_does_not_matter() -> None:
    """Each keeps its own logit, wherever the store's search has put it."""
    straight = logits(heads(0), CANDIDATES, [1, 2, 3])
    turned = logits(heads(0), CANDIDATES[::-1], [3, 2, 1])
    assert turned[::-1] == pytest.approx(straight, abs=1e-5)


def test_a_sibling_in_view_changes_the_logit() -> None:
    """What else is stored is evidence: that is why all candidates are scored together."""
    alone = logits(heads(0), CANDIDATES[:1], [1], np.eye(1, dtype=bool))
    beside = logits(heads(0), CANDIDATES, [1, 2, 3])
    assert abs(alone[0] - beside[0]) > 1e-3


def test_a_shared_answer_is_no_sibling() -> None:
    """Candidates that are known to share one answer do not speak against each other."""
    is_same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    known = candidate_tokens([QUERY, *CANDIDATES], VECTORS, is_same, np.ones(10, np.float32))
    assert known.siblings[0].tolist() == [0, 0, 1]
    assert abs(logits(heads(0), CANDIDATES, [1, 2, 3], is_same)[0] - logits(heads(0), CANDIDATES, [1, 2, 3])[0]) > 1e-3


def test_heads_vote_by_their_mean() -> None:
    """Two heads are worth the middle of what each says."""
    each = [logits(heads(seed), CANDIDATES, [1, 2, 3]) for seed in (0, 1)]
    assert logits(heads(0, 1), CANDIDATES, [1, 2, 3]) == pytest.approx(np.mean(each, axis=0), abs=1e-5)


def test_prompts_without_tokens_have_finite_logits() -> None:
    """Punctuation alone must not fail a lookup."""
    empty = prompt()
    found = heads(0).logits([empty, CANDIDATES[0], empty], VECTORS[:3], np.eye(2, dtype=bool))
    assert np.isfinite(found).all()


def test_gelu_is_the_exact_one() -> None:
    """Training uses the error function, not the tanh approximation, which differs by up to 5e-4."""
    values = np.linspace(-5, 5, 41, dtype=np.float32)
    exact = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in values.tolist()]
    assert gelu(values) == pytest.approx(exact, abs=2e-6)
