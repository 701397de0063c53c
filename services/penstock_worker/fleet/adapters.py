"""Adapters of a model: wanted once, loaded on every replica, whenever that starts."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, PenstockError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.checkpoint import inspect_adapter
from penstock_worker.fleet.supervisor import NotPreparedError, ReplicaDiedError, ReplicaProcess
from penstock_worker.replica.registration import LoadFailure

# A replica that hangs must not stand in the way of all others for longer.
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    spec: AdapterSpec
    path: Path


class FleetAdapters:
    """Keeps all replicas alike: an adapter is published when every serving one has it, and not after one lets go.

    Args:
        model_dir: of the checkpoint that they are for.
        wanted: directories of those that were wanted before, by name.
        keep: remembers those that are wanted.
        serving: the replicas that serve now.
        publish: told when `specs` has changed.
        limit_s: how long a replica may take to load or unload one.
    """

    def __init__(
        self,
        *,
        model_dir: Path,
        wanted: Mapping[str, Path],
        keep: Callable[[Mapping[str, Path]], None],
        serving: Callable[[], Sequence[ReplicaProcess]],
        publish: Callable[[], None],
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._model_dir = model_dir
        self._first = wanted
        self._remember = keep
        self._serving = serving
        self._publish = publish
        self._limit_s = limit_s
        self._wanted: dict[str, _Wanted] = {}
        self._unread: dict[str, Path] = {}  # could not be read at the start, and may be at the next
        self._lock = asyncio.Lock()  # one change at a time; a replica that comes up is such a change
        self._log = get_logger("fleet")

    @property
    def specs(self) -> tuple[AdapterSpec, ...]:
        """Those that requests may name."""
        return tuple(wanted.spec for wanted in self._wanted.values())

    @property
    def paths(self) -> dict[str, Path]:
        """The directories of those that are wanted, by name."""
        return {name: wanted.path for name, wanted in self._wanted.items()}

    def move(self, model_dir: Path) -> None:
        """From now on they are for another checkpoint; all of them fit it."""
        self._model_dir = model_dir

    async def change(self, wanted: Mapping[str, Path]) -> None:
        """Loads and unloads what makes them those of `wanted`.

        Raises:
            InvalidArgumentError, FailedPreconditionError: see `load`; those before it are as wanted.
        """
        for name, path in self.paths.items():
            if wanted.get(name) != path:
                await self.unload(name)
        for name, path in wanted.items():
            await self.load(name, path)

    async def restore(self) -> None:
        """Takes over those that were wanted before. To be called before any replica is brought up."""
        for name, path in self._first.items():
            try:
                self._wanted[name] = await self._inspect(name, path)
            except InvalidArgumentError as error:
                self._log.error("an adapter is left out", adapter=name, reason=str(error))
            except (PenstockError, OSError) as error:
                self._log.error("an adapter is left out for this run", adapter=name, reason=str(error))
                self._unread[name] = path
        if self._wanted:
            self._publish_wanted()

    async def load(self, name: str, path: Path) -> None:
        """Loads an adapter on all serving replicas; on all of them or none.

        Raises:
            InvalidArgumentError: it is no adapter for the model.
            FailedPreconditionError: another adapter of that name is loaded, or a replica cannot load it.
        """
        if not path.is_absolute():
            raise InvalidArgumentError("path", str(path), "an absolute path")
        async with self._lock:
            wanted = await self._inspect(name, path)
            if name in self._wanted and self._wanted[name].spec != wanted.spec:
                raise FailedPreconditionError(f"another adapter {name} is loaded: unload it first")
            if name in self._wanted:
                return
            loads = asyncio.gather(
                *(self._load_if_alive(replica, wanted) for replica in self._serving()), return_exceptions=True
            )
            try:
                _raise_first(await asyncio.shield(loads))
                self._wanted[name] = wanted
                self._unread.pop(name, None)
                self._keep()
            except BaseException:  # the caller may have gone, too
                await asyncio.wait([loads])  # what goes on loading could not be unloaded yet
                self._wanted.pop(name, None)
                await self._unload_everywhere(name)
                raise

    async def unload(self, name: str) -> None:
        """Takes an adapter away.

        Raises:
            NotFoundError: there is none of that name.
        """
        async with self._lock:
            if name not in self._wanted:
                raise NotFoundError("adapter", name, self._wanted, field="name")
            await self._withdraw(name)

    async def bring(self, replica: ReplicaProcess) -> None:
        """Loads all of them on a replica that has started and does not serve yet.

        One that no attempt can load is withdrawn from all: requests that name it hear so, and all others are served.

        Raises:
            ReplicaDiedError: it died meanwhile.
            NotPreparedError: it could not load one now, and may later; `unload` lets it serve without.
        """
        async with self._lock:
            for name, wanted in list(self._wanted.items()):
                failure = await self._load(replica, wanted)
                if failure is None:
                    continue
                if failure.is_passing:
                    raise NotPreparedError(f"adapter {name}: {failure.message}")
                self._log.error("an adapter is withdrawn", adapter=name, reason=failure.message)
                await self._withdraw(name)

    async def _inspect(self, name: str, path: Path) -> _Wanted:
        return _Wanted(await asyncio.to_thread(inspect_adapter, path, name, self._model_dir), path)

    async def _load(self, replica: ReplicaProcess, wanted: _Wanted) -> LoadFailure | None:
        """Why a replica cannot load it, where it cannot."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await replica.load_adapter(wanted.spec, wanted.path)
        except TimeoutError:
            return LoadFailure(f"the replica has not loaded it within {self._limit_s:g} s", is_passing=True)

    async def _load_if_alive(self, replica: ReplicaProcess, wanted: _Wanted) -> LoadFailure | None:
        """As `_load`. One that is gone gets it when it comes back."""
        try:
            return await self._load(replica, wanted)
        except ReplicaDiedError:
            return None

    async def _withdraw(self, name: str) -> None:
        del self._wanted[name]
        self._keep()
        await self._unload_everywhere(name)

    async def _unload_everywhere(self, name: str) -> None:
        """One that cannot is left with it: nobody is told of the adapter any more."""
        calls = (asyncio.wait_for(replica.unload_adapter(name), self._limit_s) for replica in self._serving())
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ReplicaDiedError):
                self._log.error("unloading an adapter failed", adapter=name, exc_info=result)

    def _keep(self) -> None:
        self._remember(self._unread | self.paths)
        self._publish_wanted()

    def _publish_wanted(self) -> None:
        self._publish()


def _raise_first(results: Sequence[LoadFailure | BaseException | None]) -> None:
    """Raises for the first replica that did not load."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            raise FailedPreconditionError(result.message)
