"""The launcher with real processes: it ends as its command ended, and leaves nothing of it."""

import os
import signal
import subprocess
import sys

import pytest

from penstock.local.process_id import ProcessId

GONE_WITHIN_S = 20.0
# A shell that leaves a daemon in a session of its own, tells its pid, and goes on as told.
_DAEMON = "setsid sleep 1000 & echo $!; exec >&-; "


def launch(script: str) -> subprocess.Popen[str]:
    """A launcher, as the child of this process, that runs a shell script."""
    return subprocess.Popen(command(os.getpid(), script), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def command(supervisor_pid: int, script: str) -> list[str]:
    """The command of a launcher that tells the pid of its own command on standard error."""
    return [sys.executable, "-m", "penstock.local.launch", str(supervisor_pid), "2", "sh", "-c", script]


def told(process: subprocess.Popen[str]) -> ProcessId:
    """The process whose pid the script tells."""
    assert process.stdout is not None
    found = ProcessId.of(int(process.stdout.readline()))
    assert found is not None
    return found


def test_tells_the_pid_of_its_command() -> None:
    """Operators want the service's own pid, not the launcher's."""
    with launch("echo $$") as process:
        out, err = process.communicate()
        assert out.strip() == err


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", 128 + 11)])
def test_ends_as_its_command_ended(script: str, code: int) -> None:
    """The supervisor decides and reports by it."""
    with launch(script) as process:
        assert process.wait() == code


def test_daemon_of_a_command_that_ended_is_ended() -> None:
    """A service that starts anew must not meet its predecessor's children."""
    with launch(f"{_DAEMON} sleep 1000") as process:
        daemon = told(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert not daemon.is_alive


def test_sigterm_leaves_the_command_time_to_drain() -> None:
    """Draining is the service's own business."""
    with launch("trap 'echo drained; exit 0' TERM; echo $$; while :; do sleep 0.01; done") as process:
        told(process)
        process.send_signal(signal.SIGTERM)
        assert process.communicate()[0] == "drained\n"
        assert process.returncode == 0


def test_hang_up_kills_what_ignores_sigterm() -> None:
    """It is how a supervisor in a hurry, or the kernel in its place, ends a service."""
    with launch("trap '' TERM HUP; echo $$; while :; do sleep 0.01; done") as process:
        service = told(process)
        process.send_signal(signal.SIGHUP)
        assert process.wait() == 128 + signal.SIGKILL
        assert not service.is_alive


def test_hang_ups_in_a_row_leave_no_daemon() -> None:
    """The kernel hangs up once for every thread of a dying supervisor, also while the launcher reaps its command."""
    for _ in range(30):
        with launch(f"{_DAEMON} exec sleep 1000") as process:
            daemon = told(process)
            while process.poll() is None:
                process.send_signal(signal.SIGHUP)
            assert process.returncode == 128 + signal.SIGKILL
            assert not daemon.is_alive


def test_killed_launcher_takes_its_command_along() -> None:
    """A service without its launcher would be nobody's."""
    with launch("echo $$; exec sleep 1000") as process:
        service = told(process)
        process.kill()
        assert service.wait(GONE_WITHIN_S)


def test_launcher_of_a_dead_supervisor_starts_nothing() -> None:
    """The supervisor may die between fork and start."""
    run = subprocess.run(command(1, "echo started"), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
