"""Brings what the user says: from a terminal, with editing and history, or from a pipe."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

_PROMPT = "> "
_GOES_ON = ". "
_QUOTES = '"""'


def read_text(read_line: Callable[[str], str]) -> str:
    r"""One whole text: a line, lines joined by `\` at their ends, or what stands between two `\"\"\"`.

    Args:
        read_line: takes a prompt, gives a line without its end.

    Raises:
        EOFError: nothing more comes. A text that has begun ends there instead.
    """
    line = read_line(_PROMPT)
    if line.lstrip().startswith(_QUOTES):
        first = line.lstrip().removeprefix(_QUOTES)
        lines = _read_on(first, read_line, is_open=lambda line: _QUOTES not in line)
        return "\n".join(lines).partition(_QUOTES)[0].strip("\n")
    lines = _read_on(line, read_line, is_open=lambda line: line.endswith("\\"))
    return "\n".join(line.removesuffix("\\") for line in lines)


def _read_on(line: str, read_line: Callable[[str], str], *, is_open: Callable[[str], bool]) -> list[str]:
    """Lines from `line` to the first that is not open, or to the end of the input."""
    lines = [line]
    with suppress(EOFError):
        while is_open(lines[-1]):
            lines.append(read_line(_GOES_ON))
    return lines


def terminal_line_reader() -> Callable[[str], str]:
    """Reads lines as a shell does; arrows edit and bring back earlier ones, which are kept in memory only."""
    with suppress(ImportError):  # some Pythons are built without it
        import readline  # noqa: F401, PLC0415 - gives input() editing and history
    return input


def pipe_line_reader(stream: TextIO) -> Callable[[str], str]:
    """Reads the lines of a pipe or file, and shows no prompt."""

    def read_line(prompt: str) -> str:
        del prompt
        line = stream.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    return read_line


def is_interactive() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
