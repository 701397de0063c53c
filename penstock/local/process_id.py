"""A process that is still the same one. A pid alone may belong to somebody else by the time it is used."""

import contextlib
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATE = 0  # in /proc/<pid>/stat, counted from behind the command's closing bracket
_START_TICKS = 19


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process by pid and birth.

    Attributes:
        pid: its number.
        birth: what no later process of that number shares: boot and clock tick of its start.
    """

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has `pid` now; None where none has, or it only waits to be reaped."""
        birth = _birth(pid)
        return None if birth is None else cls(pid, birth)

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return _birth(self.pid) == self.birth

    def send(self, number: signal.Signals) -> bool:
        """Signals it; False where it is gone (whoever has its number now is left alone)."""
        if not self.is_alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end, whoever its parent is; False where it still runs after `timeout_s`."""
        if sys.platform != "linux":
            with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                psutil.Process(self.pid).wait(timeout_s)
            return not self.is_alive
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.is_alive or bool(select.select([descriptor], [], [], timeout_s)[0])
        finally:
            os.close(descriptor)


def _birth(pid: int) -> str | None:
    if sys.platform != "linux":
        return _birth_by_clock(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE] in "ZX" else f"{boot}:{fields[_START_TICKS]}"


def _birth_by_clock(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None
