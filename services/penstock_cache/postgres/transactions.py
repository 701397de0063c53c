"""Batches of writes in Postgres."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from penstock_cache.postgres.connection import PostgresConnection
from penstock_cache.postgres.schema import WRITE_LOCK

# In one go: a link to the server costs by the round trip.
_BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({WRITE_LOCK})".encode()

Write = Callable[[PostgresConnection], Any]


class PostgresTransactions:
    """`Transactions` of one instance. A lost connection is made anew with the next batch.

    One instance at a time writes, which costs little, as each commits what waits together: so no two of them wait for
    each other's rows, the budget holds for all together, and numbers of labels rise in the order of their commits.
    Statements of a write are pipelined: it waits where it asks what one of them gave, and at its end.

    Args:
        connect: makes a connection.
    """

    def __init__(self, connect: Callable[[], PostgresConnection]) -> None:
        self._connect = connect
        self._connection: PostgresConnection | None = None

    def run(self, writes: Sequence[Write]) -> list[Any | Exception]:
        """One transaction; results are known after the commit, and its failure is everybody's."""
        try:
            connection = self._begin()
            results = [_attempt(connection, write) for write in writes]
            connection.raw.commit()
        except psycopg.Error as error:
            self.close()
            return [error] * len(writes)
        return results

    def close(self) -> None:
        """Ends the connection; what is not committed is taken back."""
        if self._connection is not None:
            self._connection.raw.close()
            self._connection = None

    def _begin(self) -> PostgresConnection:
        """A connection in a transaction that may write. One that broke while it was idle is replaced."""
        if self._connection is not None:
            try:
                return _lock(self._connection)
            except psycopg.OperationalError:
                self.close()
        self._connection = self._connect()
        return _lock(self._connection)


def _lock(connection: PostgresConnection) -> PostgresConnection:
    connection.raw.execute(_BEGIN)
    return connection


def _attempt(connection: PostgresConnection, write: Write) -> Any:
    """The result of one write, or its error, which takes back nothing but this write."""
    try:
        with connection.pipelined():
            connection.execute("SAVEPOINT this_write")
            result = write(connection)
            connection.execute("RELEASE this_write")
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect of one write must not end the thread
        connection.raw.execute("ROLLBACK TO this_write; RELEASE this_write")
        return error
    return result
