"""Which adapters there are, by name, and who still uses one that was unloaded. Needs no torch."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, NotFoundError

MAX_ADAPTERS = 256
_SHOWN_REVISION_CHARS = 12


class AdapterLoader(Protocol):
    """Holds the matrices of adapters."""

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Reads an adapter, which must be of that revision, to be used under an id. May run beside a step."""

    def drop(self, adapter_id: int) -> None:
        """Forgets an adapter that nobody will use again."""


@dataclass(slots=True)
class _Entry:
    spec: AdapterSpec
    num_users: int = 0
    is_unloaded: bool = False


class AdapterTable:
    """Names and users of adapters. Any thread may use it.

    An adapter that is unloaded is not found any more. What runs with it goes on; with the last of these it is dropped.

    Args:
        loader: holds what they consist of; None: there are never any.
    """

    def __init__(self, loader: AdapterLoader | None = None) -> None:
        self._loader = loader
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}
        self._ids: dict[str, int] = {}
        self._num_added = 0

    @property
    def specs(self) -> tuple[AdapterSpec, ...]:
        """Those that can be asked for."""
        with self._lock:
            return tuple(self._entries[adapter_id].spec for adapter_id in self._ids.values())

    @property
    def num_held(self) -> int:
        """How many take memory: those that can be asked for, and unloaded ones that something still runs with."""
        with self._lock:
            return len(self._entries)

    def load(self, spec: AdapterSpec, adapter_dir: Path) -> None:
        """Loads an adapter, then states it. One that is there already stays as it is.

        Raises:
            InvalidArgumentError: it is no adapter for this model, or of another revision.
            FailedPreconditionError: another adapter of that name is loaded, or there are too many.
        """
        if self._loader is None:
            raise FailedPreconditionError("this model takes no adapters: transformers runs it, not our own decoder")
        with self._lock:
            if self._has(spec):
                return
            self._num_added += 1
            adapter_id = self._num_added
        self._loader.load(adapter_id, adapter_dir, spec.revision)  # reads files: nobody waits for it
        with self._lock:
            try:
                is_there = self._has(spec)  # by another call, meanwhile
            except FailedPreconditionError:
                self._loader.drop(adapter_id)
                raise
            if is_there:
                self._loader.drop(adapter_id)
                return
            self._entries[adapter_id] = _Entry(spec)
            self._ids[spec.name] = adapter_id

    def unload(self, name: str) -> None:
        """Unloads an adapter.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._lock:
            adapter_id = self._id(name, None)
            del self._ids[name]
            self._entries[adapter_id].is_unloaded = True
            self._drop_if_unused(adapter_id)

    def check(self, name: str, revision: str | None = None) -> None:
        """Raises what `acquire` would raise."""
        with self._lock:
            self._id(name, revision)

    def acquire(self, name: str, revision: str | None = None) -> tuple[int, AdapterSpec]:
        """The id and the specification of an adapter for one more user, who releases it.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it is not of the `revision` that is asked for.
        """
        with self._lock:
            adapter_id = self._id(name, revision)
            entry = self._entries[adapter_id]
            entry.num_users += 1
            return adapter_id, entry.spec

    def release(self, adapter_id: int) -> None:
        """Gives an acquired adapter back."""
        with self._lock:
            self._entries[adapter_id].num_users -= 1
            self._drop_if_unused(adapter_id)

    def _has(self, spec: AdapterSpec) -> bool:
        """Whether it is loaded. Raises FailedPreconditionError where it cannot be."""
        if spec.name in self._ids:
            if self._entries[self._ids[spec.name]].spec == spec:
                return True
            raise FailedPreconditionError(f"another adapter {spec.name} is loaded: unload it first")
        if len(self._entries) >= MAX_ADAPTERS:
            raise FailedPreconditionError(f"{MAX_ADAPTERS} adapters are loaded: unload one first")
        return False

    def _id(self, name: str, revision: str | None) -> int:
        if name not in self._ids:
            raise NotFoundError("adapter", name, self._ids, field="adapter")
        adapter_id = self._ids[name]
        loaded = self._entries[adapter_id].spec.revision
        if revision is not None and revision != loaded:
            raise FailedPreconditionError(
                f"adapter {name} was revision {revision[:_SHOWN_REVISION_CHARS]} when the request came, and is "
                f"{loaded[:_SHOWN_REVISION_CHARS]} now: send the request again",
                field="adapter",
            )
        return adapter_id

    def _drop_if_unused(self, adapter_id: int) -> None:
        entry = self._entries[adapter_id]
        if entry.is_unloaded and not entry.num_users:
            del self._entries[adapter_id]
            if self._loader is not None:
                self._loader.drop(adapter_id)
