"""Becomes a service that dies with its supervisor: `python -m penstock.local.launch SUPERVISOR_PID COMMAND...`.

The kernel is told before the command starts (prctl survives exec), so that not even a SIGKILL of the supervisor leaves
it behind. A hook between fork and exec inside the supervisor would do the same, and may deadlock where threads run.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def launch(supervisor_pid: int, command: list[str]) -> None:
    """Replaces this process by `command`; ends at once where the supervisor is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own plan


def become_subreaper() -> None:
    """Makes this process the parent of whatever its descendants leave behind, so that it can be found and ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":  # elsewhere there is no such thing, and a killed supervisor may leave services
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2:])
