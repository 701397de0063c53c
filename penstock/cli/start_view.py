"""Shows a stack while it starts: a live table on a terminal, a line for each thing that is done elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.local.state import StackState, Stage

_MARKS = {"ready": ("✓", "green"), "failed": ("✗", "red"), "stopped": ("✗", "red"), "unhealthy": ("!", "yellow")}
_WAITING = ("·", "cyan")
_DOING = {
    "cache": "opens its database",
    "tokenizer": "loads the tokenizer",
    "worker": "starts Ray and the fleet",
    "gateway": "waits for the tokenizer and a replica",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One part of the stack: its name, where it is, since when (seconds from the start), and what it is doing."""

    name: str
    stage: str
    since_s: float
    detail: str


def rows(state: StackState) -> Iterator[Row]:
    """What there is to show, in a fixed order: services, then replicas."""
    for service in state.services:
        doing = service.detail or _DOING.get(service.name, "")
        detail = service.address if service.stage is Stage.READY else doing
        yield Row(service.name, str(service.stage), service.since - state.started_at, detail)
    for replica in state.replicas:
        detail = replica.address if replica.stage == "ready" else replica.detail
        yield Row(replica.replica_id, replica.stage, replica.since - state.started_at, detail)


class StartView:
    """Follows a stack until it is closed.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: StackState | None = None
        self._told: set[str] = set()
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=8)
        if console.is_terminal:
            self._live.start()

    def update(self, state: StackState) -> None:
        """Takes a new state."""
        self._state = state
        if not self._console.is_terminal:
            self._tell_news(state)

    def close(self) -> None:
        """Leaves what stands there, and draws no more."""
        if self._console.is_terminal:
            self._live.stop()

    def _tell_news(self, state: StackState) -> None:
        for row in rows(state):
            if row.stage == "ready" and row.name not in self._told:
                self._told.add(row.name)
                self._console.print(f"{row.since_s:6.1f} s  {row.name} ready at {row.detail}", highlight=False)

    def _draw(self) -> Table:
        table = Table.grid(padding=(0, 2))
        if self._state is None:
            return table
        elapsed_s = time.time() - self._state.started_at
        for row in rows(self._state):
            mark, colour = _MARKS.get(row.stage, _WAITING)
            seconds = row.since_s if row.stage == "ready" else elapsed_s
            table.add_row(Text(mark, colour), row.name, row.stage, f"{seconds:5.1f} s", Text(row.detail, "dim"))
        return table
