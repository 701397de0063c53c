"""The one thread that writes: what waits together is committed together."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")
_MAX_BATCH = 256


class Transactions(Protocol[C_co]):
    """Runs writes on a connection of its own, in the writer's thread."""

    def run(self, writes: Sequence[Callable[[C_co], Any]]) -> list[Any | Exception]:
        """Runs all in one transaction and gives, after the commit, the result or the error of each.

        A write that fails takes back itself alone; a commit that fails is everybody's error.
        """

    def close(self) -> None:
        """Ends the connection."""


@dataclass(frozen=True, slots=True)
class _Job:
    write: Callable[[Any], Any]
    done: Future[Any]


class Writer(Generic[C]):
    """Runs writes in order, each whole or not at all; a future is done when its write is on disk.

    Args:
        transactions: for this thread alone.
        max_waiting: how many writes may wait.
    """

    def __init__(self, transactions: Transactions[C], *, max_waiting: int) -> None:
        self._transactions = transactions
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[C], T], before_done: Callable[[], object] = lambda: None) -> Future[T]:
        """Has `write` run in a transaction, and `before_done` when it is on disk.

        Raises:
            queue.Full: too many wait.
        """
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # whoever leaves does not take a write out of its batch
        done.add_done_callback(lambda written: None if written.exception() else before_done())
        self._jobs.put_nowait(_Job(write, done))
        return done

    def close(self) -> None:
        """Finishes what waits and ends the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._transactions.close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._jobs.get()
            if first is None:
                return
            batch, is_open = self._take_waiting(first)
            for job, result in zip(batch, self._transactions.run([job.write for job in batch]), strict=True):
                if isinstance(result, Exception):
                    job.done.set_exception(result)
                else:
                    job.done.set_result(result)

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
