"""Words of a prompt, their stems, and the numbers among them."""

import re
from typing import NamedTuple

_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_WORD = re.compile(rf"[a-z]+(?:['{_APOSTROPHE}][a-z]+)?|\d+(?:[.,:]\d+)*|[%$€£°+#&=<>/*-](?=\S)|[%$€£°]", re.IGNORECASE)
_NEGATION = re.compile(r"n't\b|\b(?:not|no|never|without|dont|cant|wont|isnt|doesnt|non)\b")
_SUFFIXES = ("ings", "ing", "edly", "ed", "ly", "es", "s", "er", "e")
_MIN_STEM = 3
_MIN_IES = 6
_COUNTED = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
"""
_NUMERALS = {word: str(number) for number, word in enumerate(_COUNTED.split()) if word != "one"} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "thousand": "1000",
    "million": "1000000", "dozen": "12", "half-dozen": "6", "triple": "3", "twice": "2", "thrice": "3", "couple": "2",
    "first": "1", "third": "3", "fourth": "4", "fifth": "5", "1st": "1", "2nd": "2", "3rd": "3", "4th": "4",
}  # fmt: skip


class Word(NamedTuple):
    """A word in lower case and where it stands, in characters."""

    text: str
    begin: int
    end: int


def words_of(text: str) -> list[Word]:
    """Words, numbers and the signs that carry sense; punctuation is left out."""
    found = _WORD.finditer(text)
    return [Word(match.group().lower().replace(_APOSTROPHE, "'"), match.start(), match.end()) for match in found]


def stem(word: str) -> str:
    """Without the commonest English endings."""
    if not word.isalpha() and "'" not in word:
        return word
    word = word.removesuffix("'s") if word.endswith("'s") else word
    if word.endswith("ies") and len(word) >= _MIN_IES:
        return word[:-3] + "y"
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM and not word.endswith("ss"):
            return word[: -len(suffix)]
    return word


def numbers_of(words: list[str]) -> frozenset[str]:
    """Numbers in digits, whether written so or in letters; where a word may mean other things it does not count."""
    found = (_number(word) for word in words)
    return frozenset(number for number in found if number is not None)


def num_negations(text: str) -> int:
    """How often it says no."""
    return len(_NEGATION.findall(text.lower()))


def _number(word: str) -> str | None:
    if not word[0].isdigit():
        return _NUMERALS.get(word)
    digits = word.replace(",", ".")
    try:
        return str(float(digits)).rstrip("0").rstrip(".")
    except ValueError:  # a time, a date, a version
        return digits
