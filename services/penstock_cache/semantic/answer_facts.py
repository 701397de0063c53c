"""What an answer states that a vector does not hold: numbers with their units, negations, names, opposites.

Made to doubt: two statements that are told apart here may be one in other words; what is listed is seldom missed.
"""

import re
from collections import Counter
from dataclasses import dataclass

from penstock_cache.semantic.answer_words import FUNCTION_WORDS, NEGATIONS, NUMBER_WORDS, OPPOSITES, UNITS

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_NUMBER = re.compile(
    r"(?P<before>[€$£¥]?)\s?(?P<minus>(?<![\w)])[-\u2212])?(?P<value>\d+(?:[.,]\d+)*)"
    r"\s*-?(?:degrees? )?(?P<after>[%€$£¥°]?\s?[^\W\d_]*)"
)
# What is typed as it stands: paths, flags, names in code, addresses.
_LITERAL = re.compile(r"^--?\w|\w[_/\\=<>@#:.~|]+[\w-]|^[/~$@#.]\w")


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What must be equal, or contained, for two answers to say the same.

    Attributes:
        quantities: numbers with their units, as often as they occur at least once.
        num_negations: of all words together.
        opposites: words of which another turns the sense round.
        verdict: "yes" or "no", where the answer begins so.
        names: words that look like names.
        literals: what is typed as it stands.
        words: all words, lower case.
        order: words that carry content, in their order.
        is_equation: whether the sense bears its two sides changing places, as in "A is B".
    """

    quantities: frozenset[tuple[str, str]]
    num_negations: int
    opposites: frozenset[str]
    verdict: str
    names: frozenset[str]
    literals: frozenset[str]
    words: frozenset[str]
    order: tuple[str, ...]
    is_equation: bool


def facts_of(answer: str) -> AnswerFacts:
    """What an answer states, as far as its form tells."""
    tokens = _WORD.findall(answer)
    counts = Counter(token.lower().replace("\u2019", "'") for token in tokens)
    first = tokens[0].lower() if tokens else ""
    return AnswerFacts(
        quantities=frozenset(_quantities(answer)),
        num_negations=sum(count for word, count in counts.items() if word in NEGATIONS or word.endswith("n't")),
        opposites=frozenset(counts) & OPPOSITES,
        verdict=first if first in {"yes", "no"} else "",
        names=frozenset(token.lower() for token in tokens if _looks_like_a_name(token)),
        literals=frozenset(word for word in _stripped_words(answer) if _is_literal(word)),
        words=frozenset(counts),
        order=tuple(word for token in tokens if (word := token.lower()) not in FUNCTION_WORDS),
        is_equation=bool({"is", "are"} & set(counts)) and "by" not in counts,
    )


def contradict(one: AnswerFacts, other: AnswerFacts) -> bool:
    """Whether the two state, or may state, different things."""
    return (
        one.quantities != other.quantities
        or one.num_negations != other.num_negations
        or one.opposites != other.opposites
        or {one.verdict, other.verdict} == {"yes", "no"}
        or one.literals != other.literals
        or not one.names <= other.words
        or not other.names <= one.words
        or _change_places(one, other)
    )


def _change_places(one: AnswerFacts, other: AnswerFacts) -> bool:
    """Whether they order the same words otherwise, as in "the dog chased the cat" and "the cat chased the dog"."""
    is_order_free = one.is_equation and other.is_equation
    return not is_order_free and one.order != other.order and sorted(one.order) == sorted(other.order)


def _stripped_words(answer: str) -> list[str]:
    return [word.strip("\"'`()[],;:!?*").rstrip(".") for word in answer.split()]


def _quantities(answer: str) -> list[tuple[str, str]]:
    found = []
    for match in _NUMBER.finditer(_with_digits(answer)):
        unit = UNITS.get(match["before"]) or UNITS.get(match["after"].replace(" ", "").lower(), "")
        found.append((("-" if match["minus"] else "") + _plain_number(match["value"]), unit))
    return found


def _with_digits(answer: str) -> str:
    """Small numbers that are written as words, in digits."""
    return _WORD.sub(lambda match: NUMBER_WORDS.get(match[0].lower(), match[0]), answer)


def _plain_number(text: str) -> str:
    """A number without thousands separators, with a point, without empty decimals: "1,250.50" is "1250.5"."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", text):
        text = text.replace(".", "").replace(",", ".")
    else:
        text = text.replace(",", ".")
    if text.count(".") == 1:
        text = text.rstrip("0").rstrip(".")
    return text


def _is_literal(word: str) -> bool:
    return bool(_LITERAL.search(word)) and any(char.isalpha() for char in word)


def _looks_like_a_name(token: str) -> bool:
    return not token.islower() and token.lower() not in FUNCTION_WORDS
