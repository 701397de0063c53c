"""Control tokens: the tokens that structure a prompt (turn markers, tool markers) and that no content may forge.

A control token is an added token that the tokenizer flags as special, that its configuration names (as `eos_token`
does), or that the chat template writes itself. Everything else that a tokenizer adds (runs of spaces, for example) is
ordinary vocabulary.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_Trie = dict[str, Any]
_END = ""
_MIN_MARKUP_CHARS = 3


@dataclass(frozen=True, slots=True)
class ControlToken:
    """One control token.

    Attributes:
        token_id: its id.
        text: as it is written in a prompt.
        is_special: skipped by decoding, and text in whatever anybody but the template writes. The others stay tokens
            in assistant turns, since a model writes them as part of its answers (`<think>`, `<tool_call>`).
        strips_left: swallows the white space before it.
        strips_right: swallows the white space after it.
    """

    token_id: int
    text: str
    is_special: bool
    strips_left: bool = False
    strips_right: bool = False

    @property
    def anchor(self) -> str:
        """The character whose absence makes the token impossible: its first that is neither letter, digit nor space."""
        return next((char for char in self.text if not char.isalnum() and not char.isspace()), self.text[0])


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt: a control token where `token` is set, else ordinary text."""

    text: str
    token: ControlToken | None = None


class ControlTokens:
    """The control tokens of one tokenizer and template, and where they stand in a text."""

    def __init__(self, tokens: Iterable[ControlToken]) -> None:
        self._by_text = {token.text: token for token in tokens}
        self._pattern = re.compile(_pattern_of(self._by_text))
        self.ids = frozenset(token.token_id for token in self._by_text.values())
        self.anchors = frozenset(token.anchor for token in self._by_text.values())

    def __len__(self) -> int:
        return len(self._by_text)

    def __iter__(self) -> Iterator[ControlToken]:
        return iter(self._by_text.values())

    def cut(self, text: str) -> list[Segment]:
        """Cuts `text` at every control token: leftmost first, then longest. The segments together are the text."""
        segments: list[Segment] = []
        position = 0
        for match in self._pattern.finditer(text):
            segments.append(Segment(text[position : match.start()]))
            segments.append(Segment(match.group(), self._by_text[match.group()]))
            position = match.end()
        segments.append(Segment(text[position:]))
        return [segment for segment in segments if segment.text]

    def split(self, text: str) -> list[Segment]:
        """Cuts a prompt as the tokenizer reads it: without the white space that tokens beside it swallow."""
        segments = self.cut(text)
        tokens = [None, *(segment.token for segment in segments), None]
        kept = [
            _without_swallowed(segment, before=tokens[index], after=tokens[index + 2])
            for index, segment in enumerate(segments)
        ]
        return [segment for segment in kept if segment.text]


def looks_like_markup(text: str) -> bool:
    """Whether an added token is written to be recognised, such as `<think>`, and is no mere run of characters."""
    return len(text) >= _MIN_MARKUP_CHARS and not text[0].isalnum() and not text[-1].isalnum() and text.strip() == text


def _without_swallowed(segment: Segment, *, before: ControlToken | None, after: ControlToken | None) -> Segment:
    text = segment.text
    if segment.token is None and before is not None and before.strips_right:
        text = text.lstrip()
    if segment.token is None and after is not None and after.strips_left:
        text = text.rstrip()
    return segment if text == segment.text else Segment(text)


def _pattern_of(texts: Iterable[str]) -> str:
    """A regular expression for any of `texts`, as a trie: thousands of alternatives cost no more than one."""
    root: _Trie = {}
    for text in texts:
        node = root
        for char in text:
            node = node.setdefault(char, {})
        node[_END] = {}
    return _alternatives(root) if root else r"(?!)"


def _alternatives(node: _Trie) -> str:
    branches = [re.escape(char) + _alternatives(child) for char, child in node.items() if char != _END]
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and _END not in node else f"(?:{'|'.join(branches)})"
    return f"{joined}?" if _END in node else joined
