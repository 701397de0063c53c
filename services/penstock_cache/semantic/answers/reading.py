"""Two answers read beside each other, without the encoder: what their form decides, and what it leaves to meaning."""

import json
from dataclasses import dataclass
from enum import Enum

from penstock_cache.semantic.answers.contrast import Contrast, contrast
from penstock_cache.semantic.answers.facts import facts_of
from penstock_cache.semantic.answers.statements import Statements, statements_of

# Its words are listed in `words`.
_LISTED_LANGUAGES = frozenset({"", "en"})
# Fewer words beside code may be its own.
_PROSE_WORDS = 8
# Each is compared with each.
_MAX_QUANTITIES = 100


class Verdict(Enum):
    """What needs no look at meaning."""

    SAME = True
    DIFFERENT = False
    UNKNOWN = None

    @property
    def is_equivalent(self) -> bool | None:
        """The same as a label."""
        value: bool | None = self.value
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """What is left of an answer for the encoder: its sentences, and its words of content as they are written."""

    sentences: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Two answers that may say the same; `is_foreign`: in a language whose words are not listed."""

    one: Text
    other: Text
    contrast: Contrast
    is_foreign: bool


def read_both(one: str, other: str, question: str) -> Reading | Verdict:
    """What the form of two answers says."""
    parts, other_parts = statements_of(one), statements_of(other)
    if _plain(parts) == _plain(other_parts):
        return Verdict.SAME if parts.verdict or parts.sentences or parts.code else Verdict.UNKNOWN
    if parts.code or other_parts.code:
        return _compare_code(parts, other_parts)
    facts, other_facts = facts_of(parts), facts_of(other_parts)
    if max(len(each.quantities) for each in (facts, other_facts)) > _MAX_QUANTITIES:
        return Verdict.UNKNOWN
    found = contrast(facts, other_facts, facts_of(statements_of(question)))
    if found.is_opposed:
        return Verdict.DIFFERENT
    if facts.is_empty or other_facts.is_empty:
        return Verdict.UNKNOWN
    return Reading(
        Text(parts.sentences, tuple(facts.words.values())),
        Text(other_parts.sentences, tuple(other_facts.words.values())),
        found,
        is_foreign=not {facts.language, other_facts.language} <= _LISTED_LANGUAGES,
    )


def _plain(parts: Statements) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """Without case, spaces and the order of sentences."""
    sentences = (" ".join(each.casefold().split()).rstrip(".! ") for each in parts.sentences)
    return parts.verdict, frozenset(sentences), parts.code


def _compare_code(one: Statements, other: Statements) -> Verdict:
    """Spaces of code may be content, and words beside it may be idle: where only they differ it is not told."""
    if len(one.code) == len(other.code) == 1 and _values(one.code[0]) == _values(other.code[0]) is not None:
        return Verdict.SAME
    texts = [" ".join((*each.code, *each.sentences)) for each in (one, other)]
    mine, others = ("".join(text.split()) for text in texts)
    is_alike = one.code == other.code or mine in others or others in mine or _are_prose_around_code(*texts)
    return Verdict.UNKNOWN if is_alike else Verdict.DIFFERENT


def _values(text: str) -> object:
    """Of JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _are_prose_around_code(one: str, other: str) -> bool:
    """Whether there is prose in both, and what prose has none of is the same."""
    signs, words = zip(*(_signs_and_words(text) for text in (one, other)), strict=True)
    return signs[0] == signs[1] and min(map(len, words)) >= _PROSE_WORDS


def _signs_and_words(text: str) -> tuple[set[str], list[str]]:
    found = [word.strip(".,;:!?") for word in text.split()]
    return {word for word in found if not word.isalpha()}, [word for word in found if word.isalpha()]
