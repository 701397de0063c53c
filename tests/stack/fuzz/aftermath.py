"""What a run has left of a stack: processes, logs, memory."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from stack.running import RunningStack
from stack.traffic import what_is_left

_TROUBLE = ("Traceback", "unhandled error", "never retrieved", "Segmentation fault", "Fatal Python error")
_PERIOD_S = 2.0
_SETTLE_S = 60.0
_MEGABYTE = 1 << 20


@dataclass
class Watch:
    """Follows a stack from the start to the end of a run.

    Attributes:
        stack: the stack.
        memory_mb: resident memory of each process over time; `at_s` has the times, in seconds from the start.
    """

    stack: RunningStack
    at_s: list[float] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._processes = _processes(self.stack)
        self._began = time.monotonic()
        self._log_sizes = {path: path.stat().st_size for path in self._logs()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def problems(self) -> list[str]:
        """Ends the watch, and tells all that is not as it was."""
        self._stop.set()
        self._thread.join()
        return [*self._left(), *self._restarted(), *self._trouble(), *self._grown()]

    def growth_mb(self) -> dict[str, float]:
        """By how much each process has grown in the second half of the run, by its medians."""
        half = len(self.at_s) // 2
        width = max(1, half // 4)
        return {
            name: round(_median(values[-width:]) - _median(values[half : half + width]), 1)
            for name, values in self.memory_mb.items()
        }

    def slope_mb_per_hour(self) -> dict[str, float]:
        """Least squares over the second half of the run."""
        half = len(self.at_s) // 2
        return {
            name: round(_slope(self.at_s[half:], values[half:]) * 3600, 1) for name, values in self.memory_mb.items()
        }

    def _follow(self) -> None:
        while True:
            self.at_s.append(round(time.monotonic() - self._began, 1))
            for name, process in self._processes.items():
                try:
                    size = process.memory_info().rss / _MEGABYTE
                except psutil.NoSuchProcess:
                    size = 0.0
                self.memory_mb.setdefault(name, []).append(round(size, 1))
            if self._stop.wait(_PERIOD_S):
                return

    def _left(self) -> list[str]:
        deadline = time.monotonic() + _SETTLE_S
        while (left := what_is_left(self.stack)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [f"{name} is {value:g} at the end" for name, value in left.items()]

    def _restarted(self) -> list[str]:
        now = {name: process.pid for name, process in _processes(self.stack).items()}
        return [
            f"{name} is another process: {now.get(name)} instead of {process.pid}"
            for name, process in self._processes.items()
            if now.get(name) != process.pid
        ]

    def _trouble(self) -> list[str]:
        found = []
        for path in self._logs():
            with path.open("rb") as file:
                file.seek(self._log_sizes.get(path, 0))
                lines = file.read().decode(errors="replace").splitlines()
            found += [f"{path.name}: {line[:300]}" for line in lines if any(word in line for word in _TROUBLE)]
        return found

    def _grown(self) -> list[str]:
        found = []
        for name, grown_mb in self.growth_mb().items():
            allowed_mb = 16 + 0.05 * self.memory_mb[name][-1]
            if grown_mb > allowed_mb:
                found.append(f"{name} grew by {grown_mb:g} MB in the second half; allowed: {allowed_mb:.0f} MB")
        return found

    def _logs(self) -> list[Path]:
        return sorted((self.stack.state_dir / "logs").glob("*.log"))


def _processes(stack: RunningStack) -> dict[str, psutil.Process]:
    """The services and replicas that run now."""
    pids = {service["name"]: service["pid"] for service in stack.read_status()["services"]}
    pids |= {replica.replica_id: replica.pid for replica in stack.replicas()}
    return {name: psutil.Process(pid) for name, pid in pids.items() if pid}


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _slope(xs: list[float], ys: list[float]) -> float:
    if len(xs) < 2:
        return 0.0
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
