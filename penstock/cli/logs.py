"""`penstock logs`: the last lines of the services' logs, and what comes after them."""

import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.errors import CommandError
from penstock.local.paths import StateDir

_POLL_S = 0.2


def run_logs(state_dir: StateDir, *, service: str | None, follow: bool, num_lines: int) -> None:
    """Prints the logs of one service, or of all.

    Raises:
        CommandError: there is no such log.
    """
    sources = [_Source(path, prefix=service is None) for path in log_files(state_dir, service)]
    for source in sources:
        source.print_last(num_lines)
    while follow:
        num_news = sum(source.print_news() for source in sources)
        if num_news == 0:
            time.sleep(_POLL_S)


def log_files(state_dir: StateDir, service: str | None) -> list[Path]:
    """The log of `service`, or of all services."""
    found = sorted(state_dir.logs.glob("*.log"))
    if not found:
        raise CommandError(f"no logs in {state_dir.logs}; start a stack with `penstock up`")
    if service is None:
        return found
    chosen = [path for path in found if path.stem == service]
    if not chosen:
        names = ", ".join(path.stem for path in found)
        raise CommandError(f"no log of {service!r}; there are: {names}")
    return chosen


@dataclass
class _Source:
    """One log and how far it has been printed."""

    path: Path
    prefix: bool
    offset: int = 0
    rest: bytes = b""

    def print_last(self, num_lines: int) -> None:
        with self.path.open("rb") as file:
            for line in deque(file, maxlen=num_lines):
                self._print(line)
            self.offset = file.tell()

    def print_news(self) -> int:
        """Prints the whole lines that came since, and tells how many those were."""
        with self.path.open("rb") as file:
            if file.seek(0, 2) < self.offset:  # a new start began the log anew
                self.offset, self.rest = 0, b""
            file.seek(self.offset)
            news = self.rest + file.read()
            self.offset = file.tell()
        *lines, self.rest = news.split(b"\n")
        for line in lines:
            self._print(line)
        return len(lines)

    def _print(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\n")
        sys.stdout.write(f"{self.path.stem:<10} {text}\n" if self.prefix else f"{text}\n")
        sys.stdout.flush()
