"""Batches of writes in SQLite."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

C = TypeVar("C", bound=sqlite3.Connection)


class SqliteTransactions(Generic[C]):
    """`Transactions` over a connection for the writer's thread alone."""

    def __init__(self, connection: C) -> None:
        self._connection = connection

    def run(self, writes: Sequence[Callable[[C], Any]]) -> list[Any | Exception]:
        """One transaction; results are known after the commit, and its failure is everybody's."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._attempt(write) for write in writes]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [error] * len(writes)
        return results

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _attempt(self, write: Callable[[C], Any]) -> Any:
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
