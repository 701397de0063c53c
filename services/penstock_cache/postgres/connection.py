"""A connection to Postgres, as the statements need it."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from penstock_cache.connection import Rows, Values
from penstock_cache.postgres.pipelined_rows import PipelinedRows

_PLACE = re.compile(r"\?|(?<!:):(\w+)")


class PostgresConnection:
    """Takes statements as they are written for SQLite too. For one thread at a time. pgvector follows by itself.

    Args:
        connection: which commits each statement by itself, outside of a transaction.
    """

    is_followed = False

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.raw = connection
        self._pipeline: psycopg.Pipeline | None = None

    def execute(self, statement: str, values: Values = ()) -> Rows:
        """Runs a statement."""
        cursor = self.raw.execute(_translated(statement), values)
        return cursor if self._pipeline is None else PipelinedRows(cursor, self._pipeline)

    def executemany(self, statement: str, values: Iterable[Values]) -> None:
        """Runs a statement for each of the values."""
        with self.raw.cursor() as cursor:
            cursor.executemany(_translated(statement), values)

    @contextmanager
    def pipelined(self) -> Iterator[None]:
        """Inside, statements go out without waiting for those before; at the end all have run, or one has failed."""
        with self.raw.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
            finally:
                self._pipeline = None

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
