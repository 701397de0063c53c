"""The vectors of all scopes, read from the database when a scope is first asked for."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penstock_cache.prompt_changes import AddedPrompt, PromptChange
from penstock_cache.semantic.exact_vectors import ExactVectors

ReadVectors = Callable[[int], tuple[Sequence[int], NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class _Scope:
    """A scope in memory; whoever uses the vectors holds the lock."""

    vectors: ExactVectors
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, change: PromptChange) -> None:
        with self.lock:
            if isinstance(change, AddedPrompt):
                self.vectors.add(change.prompt, change.vector)
            else:
                self.vectors.remove(change.prompt)


@dataclass(frozen=True, slots=True)
class _Loading:
    """A scope that is being read; changes meanwhile are applied at the end."""

    done: Future[_Scope] = field(default_factory=Future)
    changes: list[PromptChange] = field(default_factory=list)


class VectorIndex:
    """Finds ids of near prompts. A hint only: whoever asks reads the prompts themselves. Thread-safe.

    Scopes share nothing, not even the time that a search takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for moments only: no search and no reading under it
        self._scopes: dict[int, _Scope] = {}
        self._loading: dict[int, _Loading] = {}

    def __repr__(self) -> str:
        num_vectors = sum(len(scope.vectors) for scope in self._scopes.values())
        return f"VectorIndex(scopes={len(self._scopes)}, vectors={num_vectors})"

    def search(self, scope: int, vector: NDArray[np.float32], limit: int, read: ReadVectors) -> list[int]:
        """The ids of the nearest prompts of a scope, nearest first; `read` is called where it is not in memory."""
        found = self._scopes.get(scope) or self._load(scope, read)
        with found.lock:
            return found.vectors.search(vector, limit)

    def apply(self, changes: Sequence[PromptChange]) -> None:
        """Follows what was committed."""
        for change in changes:
            with self._lock:
                found, loading = self._scopes.get(change.scope), self._loading.get(change.scope)
                if loading is not None:
                    loading.changes.append(change)
            if found is not None:
                found.apply(change)

    def _load(self, scope: int, read: ReadVectors) -> _Scope:
        """Reads a scope, or waits until another thread has."""
        with self._lock:
            if scope in self._scopes:
                return self._scopes[scope]
            is_ours = scope not in self._loading
            loading = self._loading.setdefault(scope, _Loading())
        if not is_ours:
            return loading.done.result()
        try:
            loaded = _Scope(ExactVectors(*read(scope)))
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
        return loaded
