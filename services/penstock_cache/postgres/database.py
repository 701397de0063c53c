"""The database for several instances: Postgres with pgvector."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import psycopg
from numpy.typing import NDArray

from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.postgres import prompt_search, schema
from penstock_cache.postgres.connection import PostgresConnection
from penstock_cache.postgres.transactions import PostgresTransactions
from penstock_cache.prompt_changes import PromptChange
from penstock_cache.writer import Writer
from penstock_shared.errors import UnavailableError
from penstock_shared.logs import get_logger

T = TypeVar("T")
_CONNECT_TIMEOUT_S = 2
_SILENCE_S = 5
_STATEMENT_TIMEOUT_MS = 5000
_TIDY_INTERVAL_S = 300.0


class PostgresDatabase:
    """One database that any number of instances use. `Database` has the contract.

    Each thread has a connection of its own and makes a new one where that is lost, so that service goes on as soon as
    the server is back.

    Args:
        url: of the database, as libpq reads it.
        num_readers: how many lookups run at once, and how many searches beside them.
        max_writes: how many writes may wait.
        min_index_size: prompts of a scope from which on it gets an index.

    Raises:
        FailedPreconditionError: a newer version has written the tables, or pgvector is missing.
        UnavailableError: the server is out of reach.
    """

    error = psycopg.Error

    def __init__(
        self, url: str, *, num_readers: int, max_writes: int, min_index_size: int = prompt_search.MIN_INDEX_SIZE
    ) -> None:
        self._url = url
        self._min_index_size = min_index_size
        try:
            with self._connect_raw() as connection:
                schema.migrate(connection)
        except psycopg.Error as error:
            reason = " ".join(str(error).split())  # libpq's has several lines
            raise UnavailableError(f"cannot use the cache's Postgres: {reason}") from error
        self._readers = ThreadPoolExecutor(num_readers, thread_name_prefix="cache-reader")
        self._searchers = ThreadPoolExecutor(num_readers, thread_name_prefix="cache-searcher")
        self._own = threading.local()
        self._indexer = ThreadPoolExecutor(1, thread_name_prefix="cache-indexer")
        self._tidied: float | None = None
        self._writer = Writer(PostgresTransactions(self._connect), max_waiting=max_writes)

    def __repr__(self) -> str:
        return "postgres"

    def read(self, read: Callable[[PostgresConnection], T]) -> Future[T]:
        """Has `read` run in one of the reading threads."""
        return self._readers.submit(self._read, read)

    def write(self, write: Callable[[PostgresConnection], T], changes: Sequence[PromptChange]) -> Future[T]:  # noqa: ARG002 - pgvector follows by itself
        """Has `write` run in the writing thread."""
        return self._writer.submit(write)

    def neighbours(
        self, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
    ) -> Future[list[Neighbour]]:
        """The nearest prompts of a scope, by pgvector."""
        return self._searchers.submit(
            self._read, lambda connection: prompt_search.neighbours(connection, scope, vector, limit, now_s)
        )

    def tidy(self) -> None:
        """Has large scopes indexed, now and then."""
        if self._tidied is None or time.monotonic() - self._tidied > _TIDY_INTERVAL_S:
            self._tidied = time.monotonic()
            self._indexer.submit(self._index)

    def close(self) -> None:
        """Finishes the writes that wait."""
        self._readers.shutdown(cancel_futures=True)
        self._searchers.shutdown(cancel_futures=True)
        self._indexer.shutdown(cancel_futures=True)
        self._writer.close()

    def _read(self, read: Callable[[PostgresConnection], T]) -> T:
        """The result of a read on this thread's connection; one that broke while it was idle is replaced."""
        connection: PostgresConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            try:
                return read(connection)
            except psycopg.OperationalError:
                connection.raw.close()
                self._own.connection = None
        connection = self._own.connection = self._connect()
        return read(connection)

    def _index(self) -> None:
        """Searches work without; a failure is the next round's matter."""
        try:
            with self._connect_raw() as connection:
                prompt_search.index_large_scopes(PostgresConnection(connection), self._min_index_size)
        except psycopg.Error as error:
            get_logger("index").warning("an index is not made", error=str(error))

    def _connect(self) -> PostgresConnection:
        return PostgresConnection(self._connect_raw())

    def _connect_raw(self) -> psycopg.Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,
            # A plan that was made while the tables were empty reads all of them when they are full.
            prepare_threshold=None,
            connect_timeout=_CONNECT_TIMEOUT_S,
            # A machine that is gone says nothing: without these a thread would wait for it for hours.
            keepalives_idle=_SILENCE_S,
            keepalives_interval=_SILENCE_S,
            keepalives_count=2,
            tcp_user_timeout=3 * _SILENCE_S * 1000,
            application_name="penstock-cache",
            options=f"-c search_path={schema.SCHEMA},public -c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        )
