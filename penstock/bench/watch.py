"""Watches the generator itself: figures are worth nothing where it was the bottleneck."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from penstock.bench.figures import percentile

_BEAT_S = 0.01
_MOST_CPU_SHARE = 0.8
_MOST_LAG_S = 0.01
_LATE_S = 0.01
_MOST_LATE_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class SelfReport:
    """How the generator fared.

    Attributes:
        cpu_share: CPU time of its process over the time of the run; 1 is one whole core.
        loop_lag_p99_s: how much later than asked for its event loop woke it, in 99 of 100 cases at most.
        num_late: requests sent more than 10 ms after they were due.
        late_share: their share of all requests.
        lateness_p99_s: in 99 of 100 cases at most.
    """

    cpu_share: float
    loop_lag_p99_s: float
    num_late: int
    late_share: float
    lateness_p99_s: float


class SelfWatch:
    """Measures from `run` on, until that is cancelled."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._cpu_began_s = time.process_time()
        self._lags_s: list[float] = []

    async def run(self) -> None:
        """Notes how late the event loop wakes it, for ever."""
        while True:
            asked_s = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._lags_s.append(max(0.0, time.monotonic() - asked_s))

    def report(self, lateness_s: Sequence[float]) -> SelfReport:
        """What was seen so far; `lateness_s` of each request, in seconds."""
        elapsed_s = time.monotonic() - self._began_s
        num_late = sum(late_s > _LATE_S for late_s in lateness_s)
        return SelfReport(
            cpu_share=(time.process_time() - self._cpu_began_s) / elapsed_s,
            loop_lag_p99_s=_p99(self._lags_s),
            num_late=num_late,
            late_share=num_late / len(lateness_s) if lateness_s else 0.0,
            lateness_p99_s=_p99(lateness_s),
        )


def doubts(report: SelfReport) -> Iterator[str]:
    """Why the figures may tell of the generator, or of the machine it ran on, more than of the server."""
    if report.cpu_share > _MOST_CPU_SHARE:
        yield (
            f"the generator used {report.cpu_share:.0%} of a core; it may be the bottleneck: "
            "share the load between several processes"
        )
    if report.loop_lag_p99_s > _MOST_LAG_S:
        yield (
            f"the generator's event loop was up to {report.loop_lag_p99_s * 1e3:.0f} ms late (p99), and so are the "
            "times it measured: give it a core of its own, or less to do"
        )
    if report.late_share > _MOST_LATE_SHARE:
        yield (
            f"{report.late_share:.1%} of the requests left more than {_LATE_S * 1e3:.0f} ms after they were due "
            f"(p99 {report.lateness_p99_s * 1e3:.0f} ms); their latencies include that"
        )


def _p99(values: Sequence[float]) -> float:
    return percentile(sorted(values), 0.99) if values else 0.0
