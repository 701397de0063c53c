"""What is stored of a prompt's tokens."""

import numpy as np
import pytest

from penstock_cache.semantic.encoder import EncodedTokens
from penstock_cache.semantic.verification.token_codec import TokenCodec


def codec() -> TokenCodec:
    """Keeps the first two of three dimensions, of the embeddings and the second layer."""
    bases = np.stack([np.eye(3, 2), np.eye(3, 2)]).astype(np.float32)
    return TokenCodec((0, 2), np.array([[1, 0, 0], [0, 0, 0]], np.float32), bases, "test")


def test_tokens_come_back_as_unit_vectors_of_the_chosen_layers() -> None:
    """The verifier compares directions; ids and places are exact."""
    states = np.zeros((3, 1, 3), np.float32)
    states[0, 0], states[1, 0], states[2, 0] = [4, 4, 9], [7, 7, 7], [0, 5, 1]
    tokens = EncodedTokens("ab", np.array([70_000]), np.array([[0, 2]]), states)
    stored = codec().tokens(codec().detail(tokens))
    assert stored.ids.tolist() == [70_000]
    assert stored.spans.tolist() == [[0, 2]]
    assert stored.vectors[0, 0] == pytest.approx([0.6, 0.8], abs=0.01)
    assert stored.vectors[0, 1] == pytest.approx([0, 1], abs=0.01)


@pytest.mark.parametrize(
    "detail", [b"", codec().detail(EncodedTokens("", *(np.zeros(s) for s in (0, (0, 2), (3, 0, 3)))))]
)
def test_a_prompt_without_tokens_has_none(detail: bytes) -> None:
    """Punctuation alone must not fail a lookup."""
    stored = codec().tokens(detail)
    assert stored.vectors.shape == (0, 2, 2)
    assert stored.spans.shape == (0, 2)
