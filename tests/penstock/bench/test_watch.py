"""Whether the generator was in the way."""

import asyncio
import time
from dataclasses import replace

import pytest

from penstock.bench.watch import SelfReport, SelfWatch, doubts

AT_EASE = SelfReport(cpu_share=0.3, loop_lag_p99_s=0.002, num_late=0, late_share=0.0, lateness_p99_s=0.001)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu_share": 0.85}, "the generator used 85% of a core; it may be the bottleneck"),
        ({"loop_lag_p99_s": 0.025}, "event loop was up to 25 ms late"),
        (
            {"num_late": 4, "late_share": 0.02, "lateness_p99_s": 0.06},
            "2.0% of the requests left more than 10 ms after they were due (p99 60 ms)",
        ),
    ],
)
def test_each_sign_of_trouble_is_told(changes: dict[str, float], words: str) -> None:
    """Figures of a generator that could not keep up are no figures of the server."""
    (doubt,) = doubts(replace(AT_EASE, **changes))
    assert words in doubt


def test_generator_at_ease_raises_no_doubt() -> None:
    """A warning that is always there warns of nothing."""
    assert list(doubts(AT_EASE)) == []


def test_late_requests_are_counted() -> None:
    """More than 10 ms after they were due."""
    report = SelfWatch().report([0.0, 0.009, 0.011, 0.05])
    assert (report.num_late, report.late_share) == (2, 0.5)
    assert report.lateness_p99_s == pytest.approx(0.04883)


async def test_blocked_loop_and_busy_core_are_seen() -> None:
    """The watch must notice just what it is there for: 200 ms of work inside the event loop."""
    watch = SelfWatch()
    beat = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    until_s = time.process_time() + 0.2
    while time.process_time() < until_s:
        pass
    await asyncio.sleep(0.001)
    beat.cancel()
    report = watch.report([])
    assert report.loop_lag_p99_s >= 0.18
    assert report.cpu_share > 0.1
