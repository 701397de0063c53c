"""The log of one service: rotated at each start of the stack, and asked for its last words."""

import re
from collections.abc import Iterator
from pathlib import Path

_TAIL_BYTES = 16 * 1024
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MAX_LINE_CHARS = 500


def rotate(path: Path) -> None:
    """Puts the log of the start before aside, in place of the one before that."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))


def last_line(path: Path) -> str:
    """What a service said last, without colours; empty where it said nothing."""
    lines = [line.strip() for line in tail(path, _TAIL_BYTES)]
    return next((line[:_MAX_LINE_CHARS] for line in reversed(lines) if line), "")


def tail(path: Path, num_bytes: int) -> Iterator[str]:
    """The last lines of a log, up to `num_bytes`, without colours. Where it is missing: none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - num_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return
    yield from _COLOURS.sub("", text).splitlines()
