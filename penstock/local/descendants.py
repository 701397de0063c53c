"""Who is whose child, and nobody left behind. Needs Linux; elsewhere a killed parent may leave processes."""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT = 1  # in /proc/<pid>/stat, counted from behind the command's closing bracket


def become_subreaper() -> None:
    """Makes this process the parent of whatever its descendants leave behind, so that it can be found and ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def on_parents_death(number: signal.Signals) -> None:
    """Has the kernel send this process `number` when the thread that started it ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def end_descendants() -> None:
    """Kills and reaps the children of this process, and theirs as they become its own, until there are none."""
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """This process's children. One that ends meanwhile stays a zombie, so that its pid is nobody else's."""
    own = str(os.getpid()).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()  # a name may hold any bytes
        except OSError:
            continue
        if fields[_PARENT] == own:
            found.append(int(entry.name))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
