"""Shows how a bench goes: a live bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

_LINE_EVERY_S = 5.0
_BAR_WIDTH = 30


class Progress(Protocol):
    """Where a bench is; `share_done` is 1 at its end."""

    @property
    def share_done(self) -> float:
        """From 0 to 1."""


_P = TypeVar("_P", bound=Progress)


class ProgressView(Generic[_P]):
    """A context manager around the run.

    Args:
        console: where it shows.
        describe: makes a line of what is told.
        clock: seconds.
    """

    def __init__(
        self, console: Console, describe: Callable[[_P], str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._describe = describe
        self._clock = clock
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
        self._next_line_s = clock() + _LINE_EVERY_S
        self._is_done = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: _P) -> None:
        """Takes news. Its last line is never left out, for it has the result."""
        was_done, self._is_done = self._is_done, progress.share_done >= 1
        has_ended = self._is_done and not was_done
        if self._live is not None:
            self._live.update(self._bar(progress))
        elif has_ended or self._clock() >= self._next_line_s:
            self._next_line_s = self._clock() + _LINE_EVERY_S
            self._console.print(self._describe(progress))

    def _bar(self, progress: _P) -> Table:
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(1.0, progress.share_done, width=_BAR_WIDTH), self._describe(progress))
        return line
