"""What an approximate index of one scope must do; `GraphVectors` is the one there is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Graph(Protocol):
    """Finds most of the nearest vectors. Not thread-safe.

    Attributes:
        dimension: of the vectors.
        num_changes: since the last `content`.
    """

    dimension: int
    num_changes: int

    def __len__(self) -> int:
        """How many vectors there are."""

    def __contains__(self, name: int) -> bool:
        """Whether a vector of that name is there."""

    def names(self) -> list[int]:
        """Of all vectors."""

    def add(self, name: int, vector: NDArray[np.float32]) -> None:
        """Takes a vector in; one of the same name is replaced."""

    def add_all(self, names: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Takes vectors in, float32 [len(names), dimension]."""

    def remove(self, name: int) -> None:
        """Forgets a vector, if it is there."""

    def search(self, vector: NDArray[np.float32], limit: int) -> list[int]:
        """The names of near vectors, about nearest first: more than `limit`, for an exact comparison to choose from."""

    def content(self) -> bytes:
        """All of it, as bytes."""
