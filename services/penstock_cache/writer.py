"""The one thread that writes: what waits together is committed together."""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_MAX_BATCH = 256

Write = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class _Job:
    write: Write[Any]
    done: Future[Any]


class Writer:
    """Runs writes in order, each whole or not at all; a future is done when its write is on disk.

    Args:
        connection: for this thread alone.
        max_waiting: how many writes may wait.
    """

    def __init__(self, connection: sqlite3.Connection, *, max_waiting: int) -> None:
        self._connection = connection
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write[T]) -> Future[T]:
        """Has `write` run in a transaction.

        Raises:
            queue.Full: too many wait.
        """
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # whoever leaves does not take a write out of its batch
        self._jobs.put_nowait(_Job(write, done))
        return done

    def close(self) -> None:
        """Finishes what waits and ends the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._jobs.get()
            if first is None:
                return
            batch, is_open = self._take_waiting(first)
            self._commit(batch)

    def _take_waiting(self, first: _Job) -> tuple[list[_Job], bool]:
        """All that waits, up to a bound; False where the end was among it."""
        batch = [first]
        while len(batch) < _MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, False
            batch.append(job)
        return batch, True

    def _commit(self, batch: list[_Job]) -> None:
        """One transaction. Results are told after the commit; its failure is everybody's."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [(job.done, self._attempt(job.write)) for job in batch]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            results = [(job.done, error) for job in batch]
        for done, result in results:
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

    def _attempt(self, write: Write[Any]) -> Any:
        """The result of one write, or its error, which takes back nothing but this write."""
        self._connection.execute("SAVEPOINT one")
        try:
            result = write(self._connection)
        except Exception as error:  # a defect of one write must not end the thread
            if not self._connection.in_transaction:  # the database took back the whole batch, as when the disk is full
                raise
            self._connection.execute("ROLLBACK TO one")
            result = error
        self._connection.execute("RELEASE one")
        return result
