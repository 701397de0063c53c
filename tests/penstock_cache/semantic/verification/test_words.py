"""Words, stems and numbers of a prompt."""

import pytest

from penstock_cache.semantic.verification.words import Word, num_negations, numbers_of, stem, words_of


def test_words_are_lower_case_and_know_where_they_stand() -> None:
    """Tokens of the encoder are matched to words by their place."""
    assert words_of("Isn\N{RIGHT SINGLE QUOTATION MARK}t it 4.90 €?") == [
        Word("isn't", 0, 5),
        Word("it", 6, 8),
        Word("4.90", 9, 13),
        Word("€", 14, 15),
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("cities", "city"), ("parking", "park"), ("wife's", "wif"), ("glass", "glass"), ("bus", "bus"), ("4.90", "4.90")],
)
def test_endings_are_cut_and_short_words_left(word: str, expected: str) -> None:
    """Paraphrases use other forms of a word."""
    assert stem(word) == expected


def test_numbers_are_the_same_in_digits_and_in_letters() -> None:
    """One answer for "three days" and "3 days", another for "13 days"; "one" and "second" mean other things too."""
    assert numbers_of(["three", "days"]) == numbers_of(["3", "days"]) == {"3"}
    assert numbers_of(["4,90"]) == {"4.9"}
    assert numbers_of(["one", "second", "12:30"]) == {"12:30"}


def test_a_no_counts_however_it_is_written() -> None:
    """With and without it are opposite questions."""
    assert num_negations("Don't go, not now, but dont wait without me") == 4
    assert num_negations("notes of a northern cannon") == 0
