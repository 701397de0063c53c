"""A connection to SQLite, as the statements need it."""

import sqlite3

import numpy as np
from numpy.typing import NDArray

_DTYPE = np.dtype("<f4")


class SqliteConnection(sqlite3.Connection):
    """Keeps vectors as little-endian float32."""

    is_followed = True

    def to_column(self, vector: NDArray[np.float32]) -> bytes:
        """A vector as a value of a statement."""
        return vector.astype(_DTYPE).tobytes()

    def to_vector(self, column: bytes) -> NDArray[np.float32]:
        """A vector, from a row."""
        return np.frombuffer(column, _DTYPE)
