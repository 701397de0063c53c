"""Prompts in classes: two prompts share a class if and only if the same answer is right for both."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FIELDS = ("class", "family", "domain", "prompt")
_SHOWN_CHARS = 60


class DataError(ValueError):
    """A file that cannot be replayed; names the line, the field, what it held and what is allowed."""


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """One prompt.

    Attributes:
        text: of the prompt.
        class_name: of all prompts with the same answer.
        family: of classes that are near misses of each other.
        domain: of families.
    """

    text: str
    class_name: str
    family: str
    domain: str


@dataclass(frozen=True, slots=True)
class ParaphraseSet:
    """All prompts of a file in its order, and the answer of each class."""

    prompts: tuple[Paraphrase, ...]
    answers: dict[str, str]


def load_paraphrases(path: Path) -> ParaphraseSet:
    """Reads a file of one JSON object a line, with `class`, `family`, `domain`, `prompt` and `answer`.

    All are strings; `answer` may be null where another line of the class has it. Other fields are passed over.

    Raises:
        DataError: the file cannot be read, or a line is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8") from error
    reader = _Reader(path)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.take(number, line)
    return reader.finish()


class _Reader:
    """Takes lines one by one and remembers where each thing was said first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prompts: dict[str, tuple[int, Paraphrase]] = {}
        self._answers: dict[str, tuple[int, str]] = {}
        self._classes: dict[str, tuple[int, Paraphrase]] = {}

    def take(self, number: int, line: str) -> None:
        fields = self._fields(number, line)
        prompt = Paraphrase(fields["prompt"], fields["class"], fields["family"], fields["domain"])
        first_line, first = self._classes.setdefault(prompt.class_name, (number, prompt))
        for name, value, expected in (
            ("family", prompt.family, first.family),
            ("domain", prompt.domain, first.domain),
        ):
            if value != expected:
                self._fail(
                    number, name, value, f"{expected!r}, as for class {prompt.class_name!r} in line {first_line}"
                )
        seen_line, seen = self._prompts.setdefault(prompt.text, (number, prompt))
        if seen is not prompt:
            self._fail(number, "prompt", prompt.text, f"a prompt that no other line has; line {seen_line} has it")
        if fields["answer"] is not None:
            answer_line, answer = self._answers.setdefault(prompt.class_name, (number, fields["answer"]))
            if answer != fields["answer"]:
                self._fail(number, "answer", fields["answer"], f"null, or what line {answer_line} says")

    def finish(self) -> ParaphraseSet:
        if not self._prompts:
            raise DataError(f"{self._path}: holds no prompt")
        for class_name, (number, _) in self._classes.items():
            if class_name not in self._answers:
                self._fail(number, "answer", None, f"the answer, for no line of class {class_name!r} has one")
        prompts = tuple(prompt for _, prompt in self._prompts.values())
        return ParaphraseSet(prompts, {name: answer for name, (_, answer) in self._answers.items()})

    def _fields(self, number: int, line: str) -> dict[str, Any]:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self._path}, line {number}: no JSON ({error})") from error
        if not isinstance(fields, dict):
            raise DataError(f"{self._path}, line {number}: got {_shown(fields)}; allowed: a JSON object")
        for name, value in self._required(number, fields):
            if not isinstance(value, str) or not value.strip():
                self._fail(number, name, value, "a string that is not empty")
            if any("\ud800" <= char <= "\udfff" for char in value):
                self._fail(number, name, value, "text that UTF-8 can hold")
        return fields

    def _required(self, number: int, fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """What must be text; an answer need not be there, but must be said to be missing."""
        for name in (*_FIELDS, "answer"):
            if name not in fields:
                raise DataError(f"{self._path}, line {number}: {name}: missing")
            if name != "answer" or fields[name] is not None:
                yield name, fields[name]

    def _fail(self, number: int, field: str, value: Any, allowed: str) -> None:
        raise DataError(f"{self._path}, line {number}: {field}: got {_shown(value)}; allowed: {allowed}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
