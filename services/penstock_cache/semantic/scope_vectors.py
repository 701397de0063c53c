"""The vectors of one scope in memory, compared one by one while they are few and in a graph when they are many."""

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from penstock_cache.prompt_changes import AddedPrompt, PromptChange
from penstock_cache.semantic.exact_vectors import ExactVectors
from penstock_cache.semantic.graph import Graph

_CHUNK = 256


class ScopeVectors:
    """Answers and changes while a graph is made. Thread-safe; one thread makes the graph.

    Attributes:
        graph: when it has been made; it has taken the place of the exact vectors then.
    """

    def __init__(self, exact: ExactVectors) -> None:
        self._lock = threading.Lock()
        self._exact: ExactVectors | None = exact
        self._has_begun = False
        self._missed: list[PromptChange] | None = None  # by the graph, while it is being made
        self.graph: Graph | None = None

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return self._vectors.dimension

    def search(self, vector: NDArray[np.float32], limit: int) -> list[int]:
        """The names of the nearest vectors, nearest first; of a graph more than `limit`."""
        with self._lock:
            return self._vectors.search(vector, limit)

    def apply(self, change: PromptChange) -> None:
        """Follows a change of the database."""
        with self._lock:
            _apply(change, self._vectors)
            if self._missed is not None:
                self._missed.append(change)

    def begin_turning(self) -> bool:
        """Whether the caller is to make the graph; true once."""
        with self._lock:
            is_first, self._has_begun = not self._has_begun, True
            return is_first

    def turn(self, graph: Graph) -> Iterator[None]:
        """Makes the graph equal to the exact vectors, step by step, and puts it in their place.

        Whoever does not go to the end leaves the exact vectors where they are.
        """
        with self._lock:
            exact = self._exact
            assert exact is not None
            names, self._missed = exact.names(), []
        try:
            for gone in set(graph.names()).difference(names):
                graph.remove(gone)
            missing = [name for name in names if name not in graph]
            for first in range(0, len(missing), _CHUNK):
                with self._lock:
                    chunk = exact.take(missing[first : first + _CHUNK])
                graph.add_all(*chunk)
                yield
            with self._lock:
                for change in self._missed:
                    _apply(change, graph)
                self.graph, self._exact = graph, None
        finally:
            self._missed = None

    def content(self) -> bytes:
        """Of the graph."""
        with self._lock:
            assert self.graph is not None
            return self.graph.content()

    @property
    def _vectors(self) -> ExactVectors | Graph:
        vectors = self.graph if self._exact is None else self._exact
        assert vectors is not None
        return vectors


def _apply(change: PromptChange, vectors: ExactVectors | Graph) -> None:
    if isinstance(change, AddedPrompt):
        vectors.add(change.prompt, change.vector)
    else:
        vectors.remove(change.prompt)
