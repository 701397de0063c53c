"""What a statement gave that is still under way."""

from collections.abc import Iterator
from typing import Any

import psycopg


class PipelinedRows:
    """Waits for its statement when it is asked.

    Args:
        cursor: of the statement.
        pipeline: in which it is.
    """

    def __init__(self, cursor: psycopg.Cursor[Any], pipeline: psycopg.Pipeline) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    @property
    def rowcount(self) -> int:
        """How many rows it changed. The cursor knows only once its result is there, and does not wait for it."""
        self._pipeline.sync()
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        """The next row; None where there is none."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""
        return iter(self._cursor)
