"""The store on one machine: a SQLite database in WAL mode, whose readers and one writer do not wait for each other."""

import asyncio
import queue
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from penstock_cache import statements
from penstock_cache.database_file import connect, prepare
from penstock_cache.entries import ExactKey, NewEntry, Selector, StoredEntry, Totals
from penstock_cache.writer import Write, Writer
from penstock_shared.errors import ResourceExhaustedError, UnavailableError
from penstock_shared.logs import get_logger

T = TypeVar("T")
_RETRY_AFTER_S = 0.1


class SqliteStore:
    """Keeps entries in one file. `Store` has the contract.

    Args:
        path: of the database; made where there is none.
        max_bytes: budget of all entries together.
        num_readers: how many lookups run at once.
        max_pending: how many calls may run or wait.
        wall_clock: seconds since the epoch; entries outlive this process.

    Attributes:
        num_evictions: by tenant, since the start.

    Raises:
        FailedPreconditionError: a newer version has written the file.
        UnavailableError: the file cannot be used.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, num_readers: int, max_pending: int, wall_clock: Callable[[], float]
    ) -> None:
        prepare(path)
        self._path = path
        self._max_bytes = max_bytes
        self._max_pending = max_pending
        self._wall_clock = wall_clock
        self._num_pending = 0
        self._readers = ThreadPoolExecutor(num_readers, thread_name_prefix="cache-reader")
        self._reader = threading.local()
        self._writer = Writer(connect(path), max_waiting=2 * max_pending)
        self._log = get_logger("store")
        self.num_evictions: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"SqliteStore({self._path.name}, pending={self._num_pending}/{self._max_pending})"

    async def lookup(self, key: ExactKey) -> StoredEntry | None:
        """The entry of that key, unless it has expired; a found one counts as used."""
        found = await self._read(partial(statements.find, key=key, now_s=self._wall_clock()))
        if found is not None:
            self._touch(found.entry_id)
        return found

    async def put(self, entry: NewEntry) -> str | None:
        """Keeps an entry; others go where it does not fit."""
        if statements.size_of(entry) > self._max_bytes:
            return None
        entry_id, now_s = uuid.uuid4().hex, self._wall_clock()

        def insert(connection: sqlite3.Connection) -> Counter[str]:
            statements.insert(connection, entry, entry_id, now_s)
            return statements.evict(connection, self._max_bytes)

        self.num_evictions += await self._write(insert)
        return entry_id

    async def invalidate(self, tenant: str, selector: Selector) -> int:
        """Removes entries of a tenant and returns how many."""
        return await self._write(partial(statements.remove, tenant=tenant, selector=selector))

    async def sweep(self) -> int:
        """Removes what has expired and returns how many."""
        return await self._write(partial(statements.remove_expired, now_s=self._wall_clock()))

    async def totals(self, tenant: str) -> Totals:
        """What is stored for a tenant, or for all together."""
        return await self._read(partial(statements.totals, tenant=tenant))

    def close(self) -> None:
        """Finishes the writes that wait."""
        self._readers.shutdown(cancel_futures=True)
        self._writer.close()

    async def _read(self, read: Write[T]) -> T:
        return await self._run(lambda: self._readers.submit(lambda: read(self._reader_connection())))

    async def _write(self, write: Write[T]) -> T:
        return await self._run(lambda: self._writer.submit(write))

    async def _run(self, submit: Callable[[], Future[T]]) -> T:
        """The result of what `submit` starts. A caller that leaves takes back what has not begun, but no write."""
        if self._num_pending >= self._max_pending:
            raise self._too_busy()
        loop = asyncio.get_running_loop()
        try:
            future = submit()
            self._num_pending += 1
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._forget))
            return await asyncio.wrap_future(future)
        except queue.Full:
            raise self._too_busy() from None
        except sqlite3.Error as error:
            self._log.error("the database failed", error=str(error))
            raise UnavailableError("the cache's database failed", retry_after_s=_RETRY_AFTER_S) from error

    def _forget(self) -> None:
        self._num_pending -= 1

    def _too_busy(self) -> ResourceExhaustedError:
        message = f"the cache has {self._num_pending} calls pending; its maximum is {self._max_pending}"
        return ResourceExhaustedError(message, quota="cache_pending_calls", retry_after_s=_RETRY_AFTER_S)

    def _touch(self, entry_id: str) -> None:
        """Nobody waits for it; under pressure it is left out."""
        try:
            self._writer.submit(partial(statements.touch, entry_id=entry_id, now_s=self._wall_clock()))
        except queue.Full:
            self._log.debug("a use was not noted")

    def _reader_connection(self) -> sqlite3.Connection:
        """This thread's own."""
        connection: sqlite3.Connection | None = getattr(self._reader, "connection", None)
        if connection is None:
            connection = self._reader.connection = connect(self._path, is_reader=True)
        return connection
