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

from penstock.local.descendants import become_subreaper, end_descendants, on_parents_death

KILL = signal.SIGHUP
# Blocked and waited for, never handled: the kernel hangs up once for every thread of a dying supervisor, also while the
# command is being reaped, and a handler would then signal a process that is gone, or be interrupted by itself.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, KILL, signal.SIGCHLD)
_SIGNAL_BASE = 128  # a shell's way to say in an exit code which signal it was


def launch(supervisor_pid: int, pid_fd: int, command: list[str]) -> int:
    """Runs `command` to its end and gives its exit code; 128 + n where signal n killed it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
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
    code = _accompany(child)
    end_descendants()
    return code if code >= 0 else _SIGNAL_BASE - code


def _become(command: list[str]) -> None:
    on_parents_death(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own plan


def _accompany(child: int) -> int:
    """Passes signals on to `child` until it ends."""
    while True:
        number = signal.sigwait(_SIGNALS)
        if number != signal.SIGCHLD:
            os.kill(child, signal.SIGKILL if number == KILL else number)
        elif (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    """Reaps all that have ended; the exit code of `child`, if it is among them."""
    pid = -1
    while pid not in (0, child):
        pid, status = os.waitpid(-1, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid == child else None


if __name__ == "__main__":
    sys.exit(launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
