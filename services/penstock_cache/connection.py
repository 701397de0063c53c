"""What the statements need of a connection, whichever database it leads to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Values = Sequence[Any] | Mapping[str, Any]


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row; None where there is none."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""


class Connection(Protocol):
    """Runs statements of the SQL that SQLite and Postgres have in common; values stand for `?` or `:name`.

    What a statement gave may come only when it is asked for: a write that does not ask does not wait.
    """

    @property
    def is_followed(self) -> bool:
        """Whether an index in memory follows what is done to prompts. Else nobody need be told."""

    def execute(self, statement: str, values: Values = ..., /) -> Rows:
        """Runs a statement."""

    def executemany(self, statement: str, values: Iterable[Values], /) -> object:
        """Runs a statement for each of the values."""

    def to_column(self, vector: NDArray[np.float32], /) -> Any:
        """A vector as a value of a statement."""

    def to_vector(self, column: Any, /) -> NDArray[np.float32]:
        """A vector as it was put, from a row."""
