"""One process of a replica: a named Ray actor in a bundle of a placement group. It outlives the fleet actor."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from penstock_worker.cluster import NAMESPACE
from penstock_worker.fleet.supervisor import ReplicaDiedError
from penstock_worker.replica.registration import NotLoadedError, ProcessInfo

_RESTART_POLL_S = 0.05
_MAX_NAME_POLLS = 100
# More than ever are pending at once.
_MAX_PENDING_CALLS = 16
_RAY_TITLE = b"ray::"


class RayProcess:
    """Starts an actor, or finds it, and calls it.

    Args:
        actor_class: whose `process` method returns a `ProcessInfo`.
        name: of the actor.
        arguments: of its constructor.
        resources: that it takes of its bundle, by Ray's names for them.
    """

    def __init__(
        self, actor_class: type, name: str, arguments: tuple[object, ...], resources: Mapping[str, float]
    ) -> None:
        self._class = actor_class
        self._name = name
        self._arguments = arguments
        self._resources = dict(resources)
        self._actor: ActorHandle[Any] | None = None
        self._process: ProcessInfo | None = None

    async def start(self, group: PlacementGroup, bundle: int) -> None:
        """Has Ray start the actor, if it is not there."""
        self._actor = await asyncio.to_thread(self._find_or_make, group, bundle)

    async def find(self) -> bool:
        """Whether the actor is there."""
        try:
            self._actor = await asyncio.to_thread(ray.get_actor, self._name, NAMESPACE)
        except ValueError:
            return False
        return True

    async def process(self) -> ProcessInfo:
        """Waits through a restart."""
        while True:
            try:
                self._process = await self.call("process")
            except UnavailableError:
                await asyncio.sleep(_RESTART_POLL_S)
            else:
                return self._process

    async def call(self, method: str, *args: Any) -> Any:
        """Calls the actor.

        Raises:
            ReplicaDiedError: it is gone; UnavailableError: and is being started anew.
        """
        try:
            return await getattr(self._actor, method).remote(*args)
        except ActorUnavailableError as error:
            raise UnavailableError(_first_line(error)) from error
        except RayActorError as error:
            raise ReplicaDiedError(_first_line(error)) from error
        except NotLoadedError as error:
            raise ReplicaDiedError("its process was started anew") from error

    async def kill(self) -> None:
        """Ends the process that was last seen, even one that hangs; Ray starts another. Nothing where it has ended."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(_kill_on_its_node, process)

    async def remove(self) -> None:
        """Ends the actor for good, and waits until its name is free: another replica may soon be given it."""
        if self._actor is not None:
            await asyncio.to_thread(ray.kill, self._actor, no_restart=True)
        for _ in range(_MAX_NAME_POLLS):
            if not await self.find():
                break
            await asyncio.sleep(_RESTART_POLL_S)
        self._actor = None

    def _find_or_make(self, group: PlacementGroup, bundle: int) -> "ActorHandle[Any]":
        maker: Any = ray.remote(self._class)
        actor: ActorHandle[Any] = maker.options(
            name=self._name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_concurrency=_MAX_PENDING_CALLS,
            num_cpus=self._resources.get("CPU", 0),
            num_gpus=self._resources.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle),
        ).remote(*self._arguments)
        return actor


class UnavailableError(ReplicaDiedError):
    """The process is gone and Ray is starting another."""


def _kill_on_its_node(process: ProcessInfo) -> None:
    """Ray asks a process to end, which one that is stopped does not hear: the signal is sent where it runs."""
    if process.node_id == ray.get_runtime_context().get_node_id():
        _kill(process.pid)
        return
    killer: Any = ray.remote(_kill)
    node = NodeAffinitySchedulingStrategy(process.node_id, soft=False)
    with suppress(ray.exceptions.RayError):  # the node is gone, and the process with it
        ray.get(killer.options(num_cpus=0, scheduling_strategy=node).remote(process.pid))


def _kill(pid: int) -> None:
    """SIGKILL to an actor's process; not to one that has got its number since."""
    with suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(_RAY_TITLE):
            os.kill(pid, signal.SIGKILL)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
