"""Shows how a bench goes."""

import io
from dataclasses import dataclass

from fakes.clock import FakeClock
from rich.console import Console

from penstock.cli.bench_progress import ProgressView


@dataclass(frozen=True)
class Told:
    """Where a bench is."""

    share_done: float


def test_without_a_terminal_there_is_a_line_every_few_seconds_and_the_last_one_once() -> None:
    """A log is to show that something goes on, and how it ended, and not a line for each request."""
    written, clock = io.StringIO(), FakeClock()
    console = Console(file=written, force_terminal=False)
    with ProgressView[Told](console, lambda told: f"{told.share_done:.0%}", clock=clock) as view:
        for seconds, share in ((1.0, 0.1), (3.0, 0.2), (2.0, 0.3), (1.0, 0.4), (1.0, 1.0), (1.0, 1.0)):
            clock.advance(seconds)
            view.update(Told(share))
    assert written.getvalue().split() == ["30%", "100%"]
