"""Stop strings, found across token borders."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StopScan:
    """Text that may be delivered, and the stop string that was found behind it, if any."""

    text: str
    matched: str | None = None


class _Needle:
    """Knuth-Morris-Pratt over one string, a character at a time."""

    __slots__ = ("_failure", "num_matched", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.num_matched = 0
        self._failure = _failure_table(text)

    def advance(self, char: str) -> bool:
        """Takes one character; True where the whole string has just been matched."""
        matched = self.num_matched
        while matched and self.text[matched] != char:
            matched = self._failure[matched - 1]
        self.num_matched = matched + 1 if self.text[matched] == char else 0
        return self.num_matched == len(self.text)


class StopStrings:
    """Watches one output for stop strings and holds back what may become one.

    The match that is complete first wins; of several complete at the same character, the longest. So the result does
    not depend on how the text is split.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._needles = [_Needle(stop) for stop in dict.fromkeys(stops)]
        self._first_chars = frozenset(stop[0] for stop in stops)
        self._held = ""

    def feed(self, text: str) -> StopScan:
        """Takes more text. After a match nothing more may be fed."""
        if not self._held and self._first_chars.isdisjoint(text):
            return StopScan(text)
        for position, char in enumerate(text):
            matched = [needle for needle in self._needles if needle.advance(char)]
            if matched:
                stop = max(matched, key=lambda needle: len(needle.text)).text
                return StopScan((self._held + text[: position + 1])[: -len(stop)], stop)
        return StopScan(self._hold_back(self._held + text))

    def finish(self) -> str:
        """What was held back and became no stop string."""
        held, self._held = self._held, ""
        return held

    def _hold_back(self, text: str) -> str:
        """Keeps the longest tail that some stop string begins with, and returns what is before it."""
        num_held = max(needle.num_matched for needle in self._needles)
        keep_from = len(text) - num_held
        self._held = text[keep_from:]
        return text[:keep_from]


def _failure_table(text: str) -> list[int]:
    """For each prefix, the length of its longest proper border."""
    table = [0] * len(text)
    length = 0
    for position in range(1, len(text)):
        while length and text[position] != text[length]:
            length = table[length - 1]
        if text[position] == text[length]:
            length += 1
        table[position] = length
    return table
