"""The vectors of one scope, each compared with the query."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Many scopes hold one prompt: that of a conversation which nobody has had again.
_FIRST_CAPACITY = 4


class ExactVectors:
    """Finds the nearest vectors by one matrix product. Not thread-safe.

    Args:
        ids: of the vectors.
        vectors: float32 [len(ids), dimension], of length one.
    """

    def __init__(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        self._ids = np.array(ids, np.int64)
        self._vectors = np.array(vectors, np.float32)
        self._rows = {name: row for row, name in enumerate(ids)}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: int) -> bool:
        return name in self._rows

    @property
    def dimension(self) -> int:
        """Of the vectors; 0 where there was none yet."""
        return int(self._vectors.shape[1])

    def add(self, name: int, vector: NDArray[np.float32]) -> None:
        """Takes a vector in; one of the same name is replaced."""
        row = self._rows.setdefault(name, len(self._rows))
        if row >= len(self._ids):
            self._grow(len(vector))
        self._ids[row], self._vectors[row] = name, vector

    def remove(self, name: int) -> None:
        """Forgets a vector, if it is there; the last one takes its place."""
        row = self._rows.pop(name, None)
        last = len(self._rows)
        if row is None or row == last:
            return
        moved = int(self._ids[last])
        self._ids[row], self._vectors[row], self._rows[moved] = moved, self._vectors[last], row

    def search(self, vector: NDArray[np.float32], limit: int) -> list[int]:
        """The names of the nearest vectors, nearest first."""
        if not self._rows:
            return []
        similarities = self._vectors[: len(self)] @ vector  # [len(self)]
        if limit < len(similarities):
            nearest = np.argpartition(similarities, -limit)[-limit:]
        else:
            nearest = np.arange(len(similarities))
        return [int(self._ids[row]) for row in nearest[np.argsort(-similarities[nearest], kind="stable")]]

    def names(self) -> list[int]:
        """Of all vectors."""
        return list(self._rows)

    def take(self, names: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """Those of the names that are there, and their vectors, float32 [number found, dimension]."""
        found = [name for name in names if name in self._rows]
        return found, self._vectors[[self._rows[name] for name in found]]

    def _grow(self, dimension: int) -> None:
        capacity = max(_FIRST_CAPACITY, 2 * len(self._ids))
        ids, vectors = np.zeros(capacity, np.int64), np.zeros((capacity, dimension), np.float32)
        used = len(self._ids)
        ids[:used] = self._ids
        if used:
            vectors[:used] = self._vectors
        self._ids, self._vectors = ids, vectors
