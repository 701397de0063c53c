"""Words of a prompt and the tokens that they are made of."""

import numpy as np
import pytest

from penstock_cache.semantic.verification.candidate_set import candidate_set
from penstock_cache.semantic.verification.prompt_words import prompt_words
from penstock_cache.semantic.verification.token_codec import StoredTokens


def test_a_word_has_the_mean_of_its_own_tokens_also_where_words_touch() -> None:
    """The encoder splits rare words; a sign stands at its number without a space; punctuation is no word."""
    spans = np.array([[0, 1], [1, 2], [3, 6], [6, 8], [8, 9]])
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [-1, 0]], np.float32).reshape(5, 1, 2)
    tokens = StoredTokens(np.zeros(5, np.int64), spans, vectors)
    found = prompt_words("4% taxes?", tokens, {"tax": 0.5}, 0.9)
    assert found.words == ["4", "%", "taxes"]
    assert found.owners == [0, 1, 2, 2, -1]
    assert found.weights == pytest.approx([0.15 * 0.9, 0.9, 0.5])
    both = candidate_set([found, found], [tokens, tokens], np.ones(1, np.float32), ["a"])
    assert both.vectors[[0, 1, 3, 4], 0].tolist() == [[1, 0], [0, 1]] * 2
    assert both.vectors[[2, 5], 0] == pytest.approx(np.full((2, 2), 0.5**0.5))
