"""Drafts copied from what was there before."""

from array import array

import pytest

from penstock_worker.engine.prompt_lookup import continuation


@pytest.mark.parametrize(
    ("token_ids", "max_tokens", "expected"),
    [
        ([1, 2, 3, 4, 5, 1, 2], 2, [3, 4]),
        ([1, 2, 9, 1, 2, 7, 1, 2], 1, [7]),  # the latest match
        ([4, 1, 2, 9, 8, 1, 2, 7, 4, 1, 2], 1, [9]),  # a longer match before a later one
        ([5, 6, 5, 6], 5, [5, 6, 5, 6, 5]),  # a period goes on
        ([7, 7, 7], 3, [7, 7, 7]),
        ([1, 2, 3, 4], 4, []),
        ([1, 2, 3, 2], 4, []),  # one token is no match
        ([1], 4, []),
        ([1, 1], 4, []),
    ],
)
def test_what_followed_the_last_tokens_is_drafted(token_ids: list[int], max_tokens: int, expected: list[int]) -> None:
    """From the longest match, and of these the latest."""
    assert list(continuation(array("q", token_ids), max_tokens)) == expected


def test_a_match_begins_at_a_token() -> None:
    """The bytes of two neighbours can look like a third token."""
    shifted = 1 << 32
    assert list(continuation(array("q", [shifted, shifted, shifted, 5, 1, 1]), 3)) == []
