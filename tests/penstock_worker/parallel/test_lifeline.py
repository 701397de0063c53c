"""A lifeline between real processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from penstock_worker.parallel.connection import Connection
from penstock_worker.parallel.lifeline import Lifeline

Peer = tuple[subprocess.Popen[bytes], Connection]

_PEER = """
import socket, sys, threading
from penstock_worker.parallel.connection import Connection
from penstock_worker.parallel.lifeline import Lifeline
connection = Connection(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
Lifeline(connection, print, interval_s=0.05).start()
threading.Event().wait()
"""


class _Losses:
    """Keeps what a lifeline tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._heard = threading.Event()

    def __call__(self, why: str) -> None:
        self.told.append(why)
        self._heard.set()

    def wait(self, limit_s: float = 60) -> None:
        assert self._heard.wait(limit_s)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A process at the other end, and the connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        process = subprocess.Popen([sys.executable, "-c", _PEER, str(door.getsockname()[1])])
        stream, _ = door.accept()
    yield process, Connection(stream)
    process.kill()
    process.wait()


def _watched(connection: Connection, silence_limit_s: float) -> tuple[Lifeline, _Losses]:
    losses = _Losses()
    lifeline = Lifeline(connection, losses, interval_s=0.05, silence_limit_s=silence_limit_s)
    lifeline.start()
    return lifeline, losses


def test_a_killed_process_is_missed_at_once(peer: Peer) -> None:
    """Its replica has to end before anybody waits for it: the limit on silence is far longer than the test may take."""
    process, connection = peer
    _, losses = _watched(connection, silence_limit_s=600)
    process.kill()
    losses.wait()
    assert losses.told[0].startswith("the connection")


def test_a_stopped_process_is_missed_after_the_limit(peer: Peer) -> None:
    """It holds all its connections, and answers nobody."""
    process, connection = peer
    _, losses = _watched(connection, silence_limit_s=1)
    os.kill(process.pid, signal.SIGSTOP)
    losses.wait()
    assert "timed out" in losses.told[0]


def test_a_lifeline_that_is_closed_tells_nothing(peer: Peer) -> None:
    """A replica that ends on purpose has not lost its shards."""
    _, connection = peer
    lifeline, losses = _watched(connection, silence_limit_s=600)
    lifeline.close()
    assert losses.told == []
