"""Numbers with their units, as answers write them."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from penstock_cache.semantic.answers.units import MULTIPLIERS, NUMBER_WORDS, UNITS

_WORD = re.compile(r"[^\W\d_]+")
_KIND = r"(?:degrees?|square|cubic|working|business|calendar|full|consecutive)[\s-]"
_NUMBER = re.compile(
    r"(?P<before>[\u20ac$\u00a3\u00a5]?)\s?(?P<minus>(?<![\w)])-)?(?<![A-Za-z_])"
    r"(?P<value>\d+(?:[.,:]\d+)*)(?:st|nd|rd|th)?(?![^\W\d_]+\d)"
    r"(?:[\s-]+(?P<times>thousand|million|billion)s?)?"
    rf"(?P<after>[\s-]?(?:{_KIND}){{0,2}}"
    r"(?:[%\u20ac$\u00a3\u00a5]|\u00b0\s?[CF]?\b|[ap]\.?\s?m\b\.?|[^\W\d_]+(?:/[^\W\d_]+)?)[23\u00b2\u00b3]?)?",
    re.IGNORECASE,
)
# "one" is a pronoun more often than a number.
_ONE = re.compile(
    r"(?<!this )(?<!that )(?<!the )(?<!no )(?<!every )(?<!any )\bone"
    r"(?=[\s-](?!of|is|that|who|in|can|or|and|to|another)[a-z])",
    re.IGNORECASE,
)
_TIMES = {"once": 1, "twice": 2}
_ONCE = re.compile(r"\b(?:once|twice)(?= (?:a|per|every|daily|weekly|each))", re.IGNORECASE)
_HALVES = frozenset({"am", "pm"})
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a base unit.

    Attributes:
        value: in `unit`.
        unit: base unit; empty where none is known.
        written: the number as it is written, for where the other side leaves the unit out.
    """

    value: float
    unit: str
    written: float

    def is_like(self, other: "Quantity") -> bool:
        """Whether both may mean the same."""
        if self.unit and other.unit:
            return self.unit == other.unit and math.isclose(self.value, other.value, rel_tol=_TOLERANCE)
        return math.isclose(self.written, other.written, rel_tol=_TOLERANCE)


def quantities_of(text: str) -> tuple[list[Quantity], str]:
    """The numbers of a text, and the text with "#0#" and so on for them and their units."""
    found: list[Quantity] = []

    def take(match: re.Match[str]) -> str:
        quantity, rest = _quantity(match)
        found.append(quantity)
        return f" #{len(found) - 1}# {rest} "

    return found, _NUMBER.sub(take, _with_digits(text))


def unmatched(one: Collection[Quantity], other: Collection[Quantity]) -> list[Quantity]:
    """Those of `one` that `other` has not."""
    return [each for each in one if not any(each.is_like(candidate) for candidate in other)]


def _quantity(match: re.Match[str]) -> tuple[Quantity, str]:
    """The quantity, and what behind the number is no unit."""
    after = (match["after"] or "").strip(" -")
    name = re.sub(rf"^(?:{_KIND})+", "", after.lower())
    name = re.sub(r"[23\u00b2\u00b3]$|[.\s]", "", name)
    if name in _HALVES or ":" in match["value"]:
        return _time_of_day(match["value"], name), "" if name in _HALVES else after
    value = _plain_number(match["value"]) * MULTIPLIERS.get((match["times"] or "").lower(), 1)
    if match["minus"]:
        value = -value
    unit = UNITS.get(match["before"]) or UNITS.get(name.split("/")[0])
    if unit is None:
        return Quantity(value, "", value), after
    return Quantity(value * unit[1], unit[0], value), ""


def _time_of_day(text: str, half: str) -> Quantity:
    parts = [float(part) for part in re.split(r"[:.,]", text)[:2]]
    hours = parts[0] % 12 + (12 if half == "pm" else 0) if half in _HALVES else parts[0]
    minutes = parts[1] if len(parts) > 1 else 0.0
    return Quantity(hours * 60 + minutes, "o'clock", hours + minutes / 100)


def _with_digits(text: str) -> str:
    """Small numbers that are written as words, in digits."""
    text = _ONE.sub("1", _ONCE.sub(lambda match: f"{_TIMES[match[0].lower()]} times", text))
    return _WORD.sub(lambda match: NUMBER_WORDS.get(match[0].lower(), match[0]), text)


def _plain_number(text: str) -> float:
    """A number without thousands separators, with a point: "1,250.50" is 1250.5."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", text):
        text = text.replace(".", "").replace(",", ".")
    else:
        text = text.replace(",", ".")
    return float(".".join(text.split(".")[:2]))
