"""The audit log: written behind the caller's back, bounded in memory and on disk, and honest about gaps."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock_shared.audit_log import AuditLog


@dataclass
class Event:
    """An event whose writing can be held up."""

    number: int
    gate: threading.Event | None = None
    is_reached: threading.Event = field(default_factory=threading.Event)

    def fields(self) -> dict[str, Any]:
        """Ready for JSON."""
        self.is_reached.set()
        if self.gate is not None:
            self.gate.wait(10)
        return {"number": self.number, "text": "line\nbreak"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "audit.log"


def numbers(path: Path) -> list[int]:
    """The events of a file."""
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


def opened(path: Path, **bounds: int) -> AuditLog:
    """A log that writes."""
    log = AuditLog(path, **{"max_bytes": 1 << 20, "max_files": 3, **bounds})
    log.start()
    return log


def test_every_event_is_a_line_and_closing_loses_none(path: Path) -> None:
    """Whatever the events hold; and nobody else can read them."""
    log = opened(path)
    for number in range(1000):
        log.add(Event(number))
    log.close()
    assert numbers(path) == list(range(1000))
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_there_stays(path: Path) -> None:
    """A restart begins no new history."""
    for number in range(2):
        log = opened(path)
        log.add(Event(number))
        log.close()
    assert numbers(path) == [0, 1]


def test_over_the_bound_events_are_dropped_and_that_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slow disk must hold up no call and fill no memory."""
    log, gate = opened(path, max_pending=3), threading.Event()
    first = Event(0, gate)
    log.add(first)
    assert first.is_reached.wait(10)
    for number in range(1, 6):
        log.add(Event(number))
    assert repr(log) == f"AuditLog({path}, pending=3, dropped=2)"
    gate.set()
    log.close()
    assert numbers(path) == [0, 1, 2, 3]
    assert "num_dropped=2" in capsys.readouterr().out


@pytest.fixture
def line_bytes() -> int:
    """The length of an event with one digit."""
    return len(json.dumps(Event(0).fields())) + 1


def write_one_by_one(path: Path, count: int, **bounds: int) -> None:
    """Each in a batch of its own."""
    for number in range(count):
        log = opened(path, **bounds)
        log.add(Event(number))
        log.close()


def test_a_full_file_is_put_aside_and_the_oldest_goes(path: Path, line_bytes: int) -> None:
    """The disk is bounded too; the newest are kept."""
    write_one_by_one(path, 8, max_bytes=2 * line_bytes, max_files=3)
    kept = {found.name: numbers(found) for found in path.parent.iterdir()}
    assert kept == {"audit.log": [6, 7], "audit.log.1": [4, 5], "audit.log.2": [2, 3]}


def test_a_single_file_begins_anew_when_it_is_full(path: Path, line_bytes: int) -> None:
    """As asked."""
    write_one_by_one(path, 3, max_bytes=2 * line_bytes, max_files=1)
    assert {found.name: numbers(found) for found in path.parent.iterdir()} == {"audit.log": [2]}


def test_a_disk_that_cannot_be_written_ends_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and when it can be written again, it is."""
    path = tmp_path / "later" / "audit.log"
    log = opened(path)
    held = Event(0, threading.Event())
    log.add(held)
    assert held.is_reached.wait(10)
    log.add(Event(1))
    assert held.gate is not None
    held.gate.set()
    wait_until_dropped(log)
    path.parent.mkdir()
    log.add(Event(2))
    log.close()
    assert numbers(path)[-1] == 2
    assert "cannot write the audit log" in capsys.readouterr().out


def wait_until_dropped(log: AuditLog) -> None:
    """The writer has given up on an event; it has no signal for that."""
    while log.num_dropped == 0:
        threading.Event().wait(0.005)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A log that was closed has ended."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "audit"]
