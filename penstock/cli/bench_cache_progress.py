"""Shows how a replay goes: a live bar on a terminal, a line every few seconds elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from penstock.bench.cache.session import Progress

_LINE_EVERY_S = 5.0
_BAR_WIDTH = 30


def describe_replay(progress: Progress) -> str:
    """One line."""
    return (
        f"{progress.number}/{progress.num_replays} {progress.policy}: {progress.num_ended} of {progress.num_requests} "
        f"requests, {progress.num_hits} semantic hits, {progress.num_wrong} wrong"
    )


class ReplayProgress:
    """A context manager around the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
        self._next_line_s = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Takes news."""
        if self._live is not None:
            self._live.update(_bar(progress))
        elif progress.num_ended == progress.num_requests or time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + _LINE_EVERY_S
            self._console.print(describe_replay(progress))


def _bar(progress: Progress) -> Table:
    line = Table.grid(padding=(0, 2))
    line.add_row(ProgressBar(progress.num_requests, progress.num_ended, width=_BAR_WIDTH), describe_replay(progress))
    return line
