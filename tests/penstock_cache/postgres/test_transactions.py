"""Writes of one batch in Postgres, each with its statements under way at once."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from fakes.postgres_server import PostgresServer

from penstock_cache.postgres.connection import PostgresConnection
from penstock_cache.postgres.transactions import PostgresTransactions

Write = Callable[[PostgresConnection], object]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a server with a table of numbers that are unique."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (number int UNIQUE)")
        yield postgres.url
        connection.execute("DROP TABLE numbers")


def run(url: str, *writes: Write) -> list[object]:
    """What each came to."""
    transactions = PostgresTransactions(lambda: PostgresConnection(psycopg.connect(url, autocommit=True)))
    results = transactions.run(writes)
    transactions.close()
    return results


def insert(*numbers: int) -> Write:
    """Keeps numbers, and does not ask whether that went well."""

    def write(connection: PostgresConnection) -> tuple[int, ...]:
        for number in numbers:
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return numbers

    return write


def kept(url: str) -> list[int]:
    """The numbers that are there."""
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


def test_a_statement_that_fails_while_nobody_waits_takes_back_its_write_alone(url: str) -> None:
    """It is noticed at the end of its write, before the next one begins, and whoever waits for that write is told."""
    first, failed, last = run(url, insert(1, 2), insert(3, 1, 4), insert(5))
    assert (first, last) == ((1, 2), (5,))
    assert isinstance(failed, psycopg.errors.UniqueViolation)
    assert kept(url) == [1, 2, 5]


def test_a_write_that_raises_amid_its_statements_takes_back_itself_alone(url: str) -> None:
    """What it had under way is no part of what is committed."""

    def raise_amid(connection: PostgresConnection) -> None:
        insert(1)(connection)
        raise ValueError("a defect")

    failed, kept_one = run(url, raise_amid, insert(2))
    assert isinstance(failed, ValueError)
    assert kept_one == (2,)
    assert kept(url) == [2]


def test_what_a_statement_gave_is_known_when_it_is_asked_for(url: str) -> None:
    """Rows and counts, though other statements are under way."""

    def ask(connection: PostgresConnection) -> list[object]:
        insert(1, 2, 3)(connection)
        changed = connection.execute("UPDATE numbers SET number = number + 10 WHERE number > ?", (1,))
        rows = connection.execute("SELECT number FROM numbers ORDER BY number")
        return [changed.rowcount, rows.fetchone(), list(rows)]

    assert run(url, ask) == [[2, (1,), [(12,), (13,)]]]
