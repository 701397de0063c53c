"""Processes are known by more than their number."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from penstock.local.process_id import ProcessId


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that only sleeps."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    """Who it is."""
    found = ProcessId.of(process.pid)
    assert found is not None
    return found


def test_signal_reaches_the_process(sleeper: subprocess.Popen[bytes]) -> None:
    """`down` signals by this."""
    found = identity(sleeper)
    assert found.is_alive
    assert found.send(signal.SIGTERM)
    assert found.wait(10)
    assert sleeper.wait() == -signal.SIGTERM


def test_another_process_of_the_same_number_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    """A recycled pid is somebody else's process."""
    predecessor = ProcessId(sleeper.pid, "an earlier birth")
    assert not predecessor.is_alive
    assert not predecessor.send(signal.SIGKILL)
    assert predecessor.wait(10)
    assert sleeper.poll() is None


def test_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    """A dead process that nobody reaped (containers without an init) must not be waited for."""
    found = identity(sleeper)
    sleeper.kill()
    assert found.wait(10)
    assert (found.is_alive, ProcessId.of(sleeper.pid)) == (False, None)


def test_wait_gives_up(sleeper: subprocess.Popen[bytes]) -> None:
    """The caller decides what follows."""
    assert not identity(sleeper).wait(0.01)


def test_number_that_nobody_has() -> None:
    """Nothing is there to be known."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert ProcessId.of(process.pid) is None
    assert ProcessId(process.pid, "any").wait(10)
    assert ProcessId.of(os.getpid()) == ProcessId.of(os.getpid())
