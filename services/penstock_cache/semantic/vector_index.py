"""The vectors of all scopes, read from the database when a scope is first asked for."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from penstock_cache.prompt_changes import PromptChange
from penstock_cache.semantic.exact_vectors import ExactVectors
from penstock_cache.semantic.graph import Graph
from penstock_cache.semantic.scope_vectors import ScopeVectors
from penstock_shared.logs import get_logger

# How far a saved graph may be behind: what is missing in it is added when it is read.
_MAX_UNSAVED = 2000

ReadVectors = Callable[[int], tuple[Sequence[int], NDArray[np.float32]]]


class Graphs(Protocol):
    """Where graphs of large scopes are kept between two lives of the process."""

    def load(self, scope: int, dimension: int) -> Graph:
        """As it was saved, or an empty one."""

    def save(self, scope: int, dimension: int, content: bytes) -> None:
        """Keeps it; a failure is nobody's error."""

    def keep_only(self, scopes: Iterable[int]) -> None:
        """Removes all others."""


@dataclass(frozen=True, slots=True)
class _Loading:
    """A scope that is being read; changes meanwhile are applied at the end."""

    done: Future[ScopeVectors] = field(default_factory=Future)
    changes: list[PromptChange] = field(default_factory=list)


class VectorIndex:
    """Finds ids of near prompts. A hint only: whoever asks reads the prompts themselves. Thread-safe.

    Scopes share nothing, not even the time that a search takes.

    Args:
        graphs: of large scopes; None: every vector is compared, however many.
        min_graph_size: vectors of a scope from which on it gets a graph.
    """

    def __init__(self, graphs: Graphs | None = None, *, min_graph_size: int = 0) -> None:
        self._graphs = graphs
        self._min_graph_size = min_graph_size
        self._lock = threading.Lock()  # held for moments only: no search and no reading under it
        self._scopes: dict[int, ScopeVectors] = {}
        self._loading: dict[int, _Loading] = {}
        self._makers = ThreadPoolExecutor(1, thread_name_prefix="cache-indexer")
        self._is_closed = False
        self._log = get_logger("index")

    def __repr__(self) -> str:
        scopes = list(self._scopes.values())
        num_graphs = sum(scope.graph is not None for scope in scopes)
        return f"VectorIndex(scopes={len(scopes)}, graphs={num_graphs}, vectors={sum(map(len, scopes))})"

    def search(self, scope: int, vector: NDArray[np.float32], limit: int, read: ReadVectors) -> list[int]:
        """The ids of the nearest prompts of a scope, nearest first; of a large scope more than `limit`.

        `read` is called where the scope is not in memory.
        """
        return (self._scopes.get(scope) or self._load(scope, read)).search(vector, limit)

    def apply(self, changes: Sequence[PromptChange]) -> None:
        """Follows what was committed."""
        for change in changes:
            with self._lock:
                found, loading = self._scopes.get(change.scope), self._loading.get(change.scope)
                if loading is not None:
                    loading.changes.append(change)
            if found is not None:
                found.apply(change)
                self._settle(change.scope, found)

    def save(self) -> None:
        """Has graphs saved that have changed much."""
        if not self._is_closed:
            self._makers.submit(self._save_all, _MAX_UNSAVED)

    def close(self) -> None:
        """Saves the graphs; one that is being made is given up."""
        self._is_closed = True
        self._makers.shutdown(cancel_futures=True)
        self._save_all(0)

    def _load(self, scope: int, read: ReadVectors) -> ScopeVectors:
        """Reads a scope, or waits until another thread has."""
        with self._lock:
            if scope in self._scopes:
                return self._scopes[scope]
            is_ours = scope not in self._loading
            loading = self._loading.setdefault(scope, _Loading())
        if not is_ours:
            return loading.done.result()
        try:
            loaded = ScopeVectors(ExactVectors(*read(scope)))
        except BaseException as error:
            with self._lock:
                del self._loading[scope]
            loading.done.set_exception(error)
            raise
        with self._lock:
            for change in loading.changes:
                loaded.apply(change)
            self._scopes[scope] = loaded
            del self._loading[scope]
        loading.done.set_result(loaded)
        self._settle(scope, loaded)
        return loaded

    def _settle(self, name: int, scope: ScopeVectors) -> None:
        """Lets a scope go that is empty, and has a graph made for one that is large."""
        if not len(scope):
            with self._lock:
                if self._scopes.get(name) is scope:  # the next search reads what has come since
                    del self._scopes[name]
        elif self._graphs is not None and len(scope) >= self._min_graph_size and scope.begin_turning():
            self._makers.submit(self._make_graph, name, scope, self._graphs)

    def _make_graph(self, name: int, scope: ScopeVectors, graphs: Graphs) -> None:
        try:
            graph = graphs.load(name, scope.dimension)
            for _ in scope.turn(graph):
                if self._is_closed:
                    return
            if graph.num_changes:
                graphs.save(name, scope.dimension, scope.content())
        except Exception:  # noqa: BLE001 - searches stay exact
            self._log.exception("an index is not made", scope=name)

    def _save_all(self, max_unsaved: int) -> None:
        for name, scope in list(self._scopes.items()):
            if self._graphs and scope.graph and scope.graph.num_changes > max_unsaved:
                self._graphs.save(name, scope.dimension, scope.content())
