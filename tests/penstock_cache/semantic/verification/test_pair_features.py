"""Features of a query's candidates."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from penstock_cache.semantic.verification.candidate_set import candidate_set
from penstock_cache.semantic.verification.pair_features import feature_names, pair_features
from penstock_cache.semantic.verification.prompt_words import PromptWords, prompt_words
from penstock_cache.semantic.verification.token_codec import StoredTokens
from penstock_cache.semantic.verification.words import words_of


def prompt(text: str) -> tuple[PromptWords, StoredTokens]:
    """A prompt whose equal words, and no others, have equal vectors in its one layer."""
    words = words_of(text)
    spans = np.array([[word.begin, word.end] for word in words]).reshape(-1, 2)
    vectors = np.array([_direction(word.text) for word in words], np.float32).reshape(-1, 1, 64)
    tokens = StoredTokens(np.zeros(len(words), np.int64), spans, vectors)
    return prompt_words(text, tokens, {}, 1.0), tokens


def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
    vector = np.random.default_rng(seed).normal(size=64)
    return vector / np.linalg.norm(vector)


def features(query: str, candidates: Sequence[str], clusters: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Columns by name; the cosine falls from candidate to candidate."""
    words, tokens = zip(*(prompt(text) for text in (query, *candidates)), strict=True)
    cosines = 0.9 - 0.1 * np.arange(len(candidates), dtype=np.float32)
    texts = candidate_set(words, tokens, cosines, clusters or [str(number) for number in range(len(candidates))])
    matrix = pair_features(texts, (0,))
    return dict(zip(feature_names((0,)), matrix.T.tolist(), strict=True))


def test_a_word_that_only_one_prompt_has_shows_on_both_sides() -> None:
    """Near misses differ in one word; what they share must not hide it."""
    found = features("fare from Rome", ["fare from Rome", "fare from Oslo"])
    assert found["layer0_worst_max"] == pytest.approx([0, 0.97], abs=0.2)
    assert found["overlap"][0] == pytest.approx(1, abs=1e-3)
    assert found["heaviest_min"] == [0, 1]


def test_what_a_sibling_explains_better_counts_against_a_candidate() -> None:
    """With both siblings stored, the word in which they differ decides."""
    found = features("what is the Rome fare", ["fare to Oslo", "fare to Rome"])
    oslo, rome = found["layer0_lost_word"]
    assert oslo > 0.5
    assert rome <= 0
    assert found["layer0_support_gap"] == [pytest.approx(-1, abs=0.5), pytest.approx(1, abs=0.5)]


def test_candidates_of_one_cluster_are_no_evidence_against_each_other() -> None:
    """They share an answer."""
    apart = features("what is the Rome fare", ["fare to Oslo", "fare to Rome"])
    joined = features("what is the Rome fare", ["fare to Oslo", "fare to Rome"], ["a", "a"])
    assert joined["layer0_lost_word"] == pytest.approx([-0.1, -0.1])
    assert joined["cluster_size"] == [2, 2]
    assert joined["cluster_cosine"] == [apart["cosine"][0]] * 2


@pytest.mark.parametrize(
    ("query", "candidate", "feature"),
    [
        ("pay in 3 days", "pay in 13 days", "numbers_apart"),
        ("open on Sunday", "not open on Sunday", "negations_apart"),
        ("add a user", "remove a user", "opposites"),
        ("flights to Rome", "flights from Rome", "other_word_before"),
        ("answer in French", "answer in German", "language_apart_min"),
        ("as a list", "as json", "form_apart_min"),
        ("Rome beats Oslo", "Oslo beats Rome", "layer0_disorder"),
    ],
)
def test_what_near_misses_differ_in_has_a_feature(query: str, candidate: str, feature: str) -> None:
    """Each is zero for a prompt against itself."""
    different, equal = features(query, [candidate, query])[feature]
    assert different > equal == 0


def test_a_pair_looks_the_same_both_ways() -> None:
    """Whichever was asked first."""
    one, other = "how far is it from Rome to Oslo by night train", "train to Oslo"
    there, back = features(one, [other]), features(other, [one])
    symmetric = [name for name in there if "disorder" not in name and "layer0_own_mass" not in name]
    differing = [name for name in symmetric if there[name] != pytest.approx(back[name], abs=1e-5)]
    assert set(differing) <= {"layer0_won_word"}


@pytest.mark.parametrize("text", ["", "?!", "日本"])
def test_a_prompt_without_words_has_features_too(text: str) -> None:
    """It must not fail the lookups of others."""
    found = features(text, ["fare to Rome", text])
    assert np.isfinite(list(found.values())).all()
