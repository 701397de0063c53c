"""A connection to Postgres, as the statements need it."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from penstock_cache.connection import Rows, Values

_PLACE = re.compile(r"\?|(?<!:):(\w+)")


class PostgresConnection:
    """Takes statements as they are written for SQLite too. For one thread at a time.

    Args:
        connection: which commits each statement by itself, outside of a transaction.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.raw = connection

    def execute(self, statement: str, values: Values = ()) -> Rows:
        """Runs a statement."""
        return self.raw.execute(_translated(statement), values)

    def executemany(self, statement: str, values: Iterable[Values]) -> None:
        """Runs a statement for each of the values."""
        with self.raw.cursor() as cursor:
            cursor.executemany(_translated(statement), values)

    def to_column(self, vector: NDArray[np.float32]) -> str:
        """A vector as pgvector reads it; every float32 comes back as it was."""
        return str(vector.tolist())

    def to_vector(self, column: str) -> NDArray[np.float32]:
        """A vector, from a row."""
        return np.array(column[1:-1].split(","), np.float32)


@lru_cache(256)
def _translated(statement: str) -> bytes:
    """With places for values as psycopg writes them. No statement of ours has a percent sign."""
    return _PLACE.sub(lambda place: f"%({place[1]})s" if place[1] else "%s", statement).encode()
