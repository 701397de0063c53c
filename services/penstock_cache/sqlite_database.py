"""The database on one machine: SQLite in WAL mode, whose readers and one writer do not wait for each other."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock_cache import prompt_statements
from penstock_cache.database_file import connect, prepare
from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.prompt_changes import PromptChange
from penstock_cache.prompt_search import PromptSearch
from penstock_cache.semantic.vector_index import Graphs, VectorIndex
from penstock_cache.sqlite_connection import SqliteConnection
from penstock_cache.sqlite_transactions import SqliteTransactions
from penstock_cache.writer import Writer

T = TypeVar("T")
# Up to here comparing every vector takes about a millisecond, and nothing is missed.
MIN_GRAPH_SIZE = 20_000


class SqliteDatabase:
    """One file. `Database` has the contract.

    Args:
        path: of the file; made where there is none.
        num_readers: how many lookups run at once, and how many searches beside them.
        max_writes: how many writes may wait.
        make_graphs: of a directory, what keeps the graphs of large scopes there; None: searches are exact.
        min_graph_size: prompts of a scope from which on it gets a graph.

    Raises:
        FailedPreconditionError: a newer version has written the file.
        UnavailableError: the file cannot be used.
    """

    error = sqlite3.Error

    def __init__(
        self,
        path: Path,
        *,
        num_readers: int,
        max_writes: int,
        make_graphs: Callable[[Path], Graphs] | None = None,
        min_graph_size: int = MIN_GRAPH_SIZE,
    ) -> None:
        prepare(path)
        self._path = path
        self._readers = ThreadPoolExecutor(num_readers, thread_name_prefix="cache-reader")
        # Searches take longer, above all the first of a scope; a lookup by key must not wait behind them.
        self._searchers = ThreadPoolExecutor(num_readers, thread_name_prefix="cache-searcher")
        self._own = threading.local()
        self._writer = Writer(SqliteTransactions(connect(path)), max_waiting=max_writes)
        graphs = self._open_graphs(make_graphs) if make_graphs else None
        self._index = VectorIndex(graphs, min_graph_size=min_graph_size)
        self._search = PromptSearch(self._index)

    def __repr__(self) -> str:
        return self._path.name

    def read(self, read: Callable[[SqliteConnection], T]) -> Future[T]:
        """Has `read` run in one of the reading threads."""
        return self._readers.submit(lambda: read(self._own_connection()))

    def write(self, write: Callable[[SqliteConnection], T], changes: Sequence[PromptChange]) -> Future[T]:
        """Has `write` run in the writing thread; the index follows `changes`."""
        return self._writer.submit(write, before_done=partial(self._index.apply, changes))

    def neighbours(
        self, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
    ) -> Future[list[Neighbour]]:
        """The nearest prompts of a scope, by the index."""
        find = partial(self._search.neighbours, scope=scope, vector=vector, limit=limit, now_s=now_s)
        return self._searchers.submit(lambda: find(self._own_connection()))

    def tidy(self) -> None:
        """Has graphs saved that have changed much."""
        self._index.save()

    def close(self) -> None:
        """Finishes the writes that wait, and saves the graphs."""
        self._readers.shutdown(cancel_futures=True)
        self._searchers.shutdown(cancel_futures=True)
        self._writer.close()
        self._index.close()

    def _open_graphs(self, make_graphs: Callable[[Path], Graphs]) -> Graphs:
        """Graphs of another database, which was set aside or is no more, must not be taken for this one's."""
        with closing(connect(self._path, is_reader=True)) as connection:
            graphs = make_graphs(self._path.with_suffix(".graphs") / prompt_statements.database_id(connection))
            graphs.keep_only(prompt_statements.scopes(connection))
            return graphs

    def _own_connection(self) -> SqliteConnection:
        """This thread's."""
        connection: SqliteConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = connect(self._path, is_reader=True)
        return connection
