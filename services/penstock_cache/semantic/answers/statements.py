"""What an answer says, without the words around it: statements, code, and a verdict."""

import re
import unicodedata
from dataclasses import dataclass

from penstock_cache.semantic.answers.frames import is_courtesy, without_preface

# Curly quotes, dashes and the minus sign.
_PLAIN_SIGNS = str.maketrans("\u2019\u2018\u201c\u201d\u2013\u2014\u2212", "''\"\"---")
_FENCE = re.compile(r" {0,3}```[^`]*$")
_EMPHASIS = re.compile(r"\*\*|__|`|^#{1,6} ", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,2}[.)])\s+")
_TABLE_RULE = re.compile(r"^[\s|:-]+$")
_END = re.compile(
    r"(?<=[.])[\"')\]]?\s+(?=[\"'(\[$\u20ac\u00a3]?[^\W\d_a-z]|[\u00bf\u00a1])|(?<=[!?])[\"')\]]?\s+|\n+|;\s+"
    r"|(?<=\S)\s+(?=(?:I hope (?:this|that)|Hope (?:this|that)|(?:Please )?[Ll]et me know if|Feel free to)\b)"
)
# A line that goes on in the next one.
_WRAP = re.compile(r"(?<=[^\s.!?:;|])[ \t]*\n(?=[a-z\d])(?!\d{1,2}[.)]\s)")
_VERDICT = re.compile(r"^(yes|no)(?:[.,!:;]\s*|$)", re.IGNORECASE)
# Texts whose form is their content: what a programming or markup language has, and prose has not.
_FORMAL = re.compile(r"^ {0,8}[\[{<]|[;{}]$|=>|</\w|^\s*(?:\$|SELECT|curl|import|def|class) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statements:
    """An answer in parts.

    Attributes:
        verdict: "yes" or "no", where the answer begins so.
        sentences: in order, without courtesies, bullets and emphasis.
        code: blocks of code, or the whole text where its form is its content; spaces at line ends left out.
        is_list: whether it is made of items that are no sentences.
    """

    verdict: str
    sentences: tuple[str, ...]
    code: tuple[str, ...]
    is_list: bool


def statements_of(answer: str) -> Statements:
    """The parts of an answer."""
    text = unicodedata.normalize("NFKC", answer).translate(_PLAIN_SIGNS)
    text, blocks = _without_blocks(text)
    sentences = _sentences(text)
    verdict = ""
    for place, sentence in enumerate(sentences):
        if found := _VERDICT.match(sentence):
            verdict = verdict or found[1].lower()
            sentences[place] = sentence[found.end() :]
    prose = "\n".join(sentences)
    sentences = [each for each in sentences if any(char.isalnum() for char in each)]
    if _FORMAL.search(prose):
        return Statements(verdict, (), (*blocks, _code(prose)), is_list=False)
    return Statements(verdict, tuple(_EMPHASIS.sub("", each) for each in sentences), tuple(blocks), _is_list(text))


def _without_blocks(text: str) -> tuple[str, list[str]]:
    """A text without its blocks of code, and these. A block that is not closed is text."""
    lines, blocks = [], []
    begin: int | None = None
    for line in text.split("\n"):
        lines.append(line)
        if _FENCE.match(line) and begin is None:
            begin = len(lines)
        elif begin is not None and line.strip() == "```":
            blocks.append(_code("\n".join(lines[begin:-1])))
            lines[begin - 1 :] = [""]
            begin = None
    return "\n".join(lines), blocks


def _sentences(text: str) -> list[str]:
    lines = [_BULLET.sub("", line) for line in _WRAP.sub(" ", text).split("\n") if not _TABLE_RULE.match(line)]
    parts = [part.strip() for part in _END.split("\n".join(lines))]
    found = [without_preface(part) for part in parts if not is_courtesy(part)]
    return [part for part in found if part]


def _is_list(text: str) -> bool:
    return sum(bool(_BULLET.match(line)) and line.rstrip()[-1] not in ".!?" for line in text.split("\n")) > 1


def _code(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
