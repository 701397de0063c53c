"""The writing thread: batches, and errors that stay with whom they belong to."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock_cache.sqlite_transactions import SqliteTransactions
from penstock_cache.writer import Writer


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    """A database with one table of unique numbers."""
    made = sqlite3.connect(tmp_path / "numbers.db", isolation_level=None, check_same_thread=False)
    made.execute("CREATE TABLE numbers (number INTEGER UNIQUE)")
    return made


@pytest.fixture
def writer(connection: sqlite3.Connection) -> Iterator[Writer[sqlite3.Connection]]:
    """A writer that lets eight wait."""
    made = Writer(SqliteTransactions(connection), max_waiting=8)
    yield made
    made.close()


class Gate:
    """A write that holds the thread until the test lets it go."""

    def __init__(self, writer: Writer[sqlite3.Connection]) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self.done = writer.submit(self._wait)
        assert self._entered.wait(10)

    def open(self) -> None:
        """Lets it go."""
        self._open.set()

    def _wait(self, _connection: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._open.wait(10)


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    """A write that fails where the number is there already."""
    return lambda connection: connection.execute("INSERT INTO numbers VALUES (?)", (number,)).rowcount


def numbers(tmp_path: Path) -> list[int]:
    """What another connection sees: what is committed."""
    other = sqlite3.connect(tmp_path / "numbers.db")
    rows = other.execute("SELECT number FROM numbers ORDER BY number").fetchall()
    other.close()
    return [number for (number,) in rows]


def test_what_waits_together_is_committed_together(
    writer: Writer[sqlite3.Connection], connection: sqlite3.Connection, tmp_path: Path
) -> None:
    """One sync of the disk serves all."""
    begun: list[str] = []
    gate = Gate(writer)
    connection.set_trace_callback(lambda statement: begun.append(statement) if "BEGIN" in statement else None)
    written = [writer.submit(insert(number)) for number in range(5)]
    gate.open()
    assert [future.result(10) for future in written] == [1] * 5
    assert begun == ["BEGIN IMMEDIATE"]
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]


def test_a_write_that_fails_takes_back_itself_alone(writer: Writer[sqlite3.Connection], tmp_path: Path) -> None:
    """Strangers share a batch."""

    def insert_two(connection: sqlite3.Connection) -> None:
        for number in (7, 1):
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))

    gate = Gate(writer)
    first, again, second = writer.submit(insert(1)), writer.submit(insert_two), writer.submit(insert(2))
    gate.open()
    assert (first.result(10), second.result(10)) == (1, 1)
    with pytest.raises(sqlite3.IntegrityError):
        again.result(10)
    assert numbers(tmp_path) == [1, 2]


def test_a_defect_of_one_write_does_not_end_the_thread(writer: Writer[sqlite3.Connection], tmp_path: Path) -> None:
    """Without the thread every later write would hang."""

    def defect(_connection: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        writer.submit(defect).result(10)
    writer.submit(insert(1)).result(10)
    assert numbers(tmp_path) == [1]


def test_a_batch_that_the_database_takes_back_is_told_to_everyone_in_it(
    writer: Writer[sqlite3.Connection], tmp_path: Path
) -> None:
    """Nobody may believe that a lost write is on disk. A full disk does it too; here a conflict clause."""

    def fail_all(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR ROLLBACK INTO numbers VALUES (1)")

    gate = Gate(writer)
    lost = [writer.submit(insert(1)), writer.submit(fail_all), writer.submit(insert(2))]
    gate.open()
    for future in lost:
        with pytest.raises(sqlite3.IntegrityError):
            future.result(10)
    writer.submit(insert(3)).result(10)
    assert numbers(tmp_path) == [3]


def test_over_the_bound_a_write_is_refused(writer: Writer[sqlite3.Connection]) -> None:
    """A slow disk must not fill the memory."""
    gate = Gate(writer)
    for number in range(8):
        writer.submit(insert(number))
    with pytest.raises(queue.Full):
        writer.submit(insert(9))
    gate.open()


def test_closing_finishes_what_waits(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """A drain loses no answer."""
    writer = Writer(SqliteTransactions(connection), max_waiting=8)
    gate = Gate(writer)
    for number in range(4):
        writer.submit(insert(number))
    gate.open()
    writer.close()
    assert numbers(tmp_path) == [0, 1, 2, 3]
