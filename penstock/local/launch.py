"""Between the supervisor and a service: `python -m penstock.local.launch SUPERVISOR_PID PID_FD COMMAND...`.

It runs the command, tells its pid on the file descriptor PID_FD, and ends as that ended, with nothing left of what the
command had started, daemons in sessions of their own included (Ray has several). It does so too when it is hung up on,
and the kernel hangs up on it when the supervisor dies, so that not even a SIGKILL of the supervisor leaves anything.

    SIGTERM, SIGINT   passed on to the command.
    SIGHUP            the command is killed.
"""

import os
import signal
import sys
from types import FrameType

from penstock.local.descendants import become_subreaper, end_descendants, on_parents_death

KILL = signal.SIGHUP
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_PASSED_ON, KILL)
_SIGNAL_BASE = 128  # a shell's way to say in an exit code which signal it was


def launch(supervisor_pid: int, pid_fd: int, command: list[str]) -> int:
    """Runs `command` to its end and gives its exit code; 128 + n where signal n killed it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    become_subreaper()
    on_parents_death(KILL)
    if os.getppid() != supervisor_pid:
        return 1
    child = os.fork()
    if child == 0:
        os.close(pid_fd)
        _become(command)
    os.write(pid_fd, str(child).encode())
    os.close(pid_fd)
    _handle_signals(child)
    code = _reap_until(child)
    end_descendants()
    return code if code >= 0 else _SIGNAL_BASE - code


def _become(command: list[str]) -> None:
    on_parents_death(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own plan


def _handle_signals(child: int) -> None:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, signal.SIGKILL if number == KILL else number)

    for number in _HANDLED:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _reap_until(child: int) -> int:
    """Reaps whatever ends until `child` does."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            _ignore_signals()
            return os.waitstatus_to_exitcode(status)


def _ignore_signals() -> None:
    """There is nobody to pass them on to any more."""
    for number in _HANDLED:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
