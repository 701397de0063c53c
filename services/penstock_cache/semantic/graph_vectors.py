"""The vectors of one large scope, in a graph of near ones (HNSW, Malkov & Yashunin 2016, by usearch)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

# Int8 moves some places: with this many times what was asked for, the exact comparison that follows has the true ones.
_OVERSAMPLING = 2


class GraphVectors:
    """Finds near vectors, most of the nearest among them, in time that hardly grows with their number. Not thread-safe.

    Args:
        dimension: of the vectors, which are kept as int8.
        saved: of `content`; its bytes are believed.

    Attributes:
        num_changes: since the last `content`.
    """

    def __init__(self, dimension: int, saved: bytes | None = None) -> None:
        self._index = Index(ndim=dimension, metric="cos", dtype="i8")
        if saved is not None:
            self._index.load(saved)
        self.dimension = dimension
        self.num_changes = 0

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: int) -> bool:
        return bool(self._index.contains(name))

    def names(self) -> list[int]:
        """Of all vectors."""
        names: list[int] = np.asarray(self._index.keys).tolist()  # one by one each takes as long as all
        return names

    def add(self, name: int, vector: NDArray[np.float32]) -> None:
        """Takes a vector in; one of the same name is replaced."""
        self.add_all([name], vector[None])

    def add_all(self, names: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Takes vectors in, float32 [len(names), dimension]."""
        for name in names:
            self.remove(name)
        self._index.add(np.array(names, np.uint64), vectors, threads=1)
        self.num_changes += len(names)

    def remove(self, name: int) -> None:
        """Forgets a vector, if it is there."""
        if name in self:
            self._index.remove(name)
            self.num_changes += 1

    def search(self, vector: NDArray[np.float32], limit: int) -> list[int]:
        """The names of near vectors, about nearest first: more than `limit`, for an exact comparison to choose from."""
        if not len(self):
            return []
        return [int(name) for name in self._index.search(vector, _OVERSAMPLING * limit, threads=1).keys]

    def content(self) -> bytes:
        """All of it, as bytes."""
        self.num_changes = 0
        saved = self._index.save()
        assert saved is not None
        return bytes(saved)
