"""A replica as a Ray actor in a placement group of its own; both outlive the fleet actor, which finds them by name."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import ray
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from penstock_shared.directory import AdapterSpec
from penstock_worker.cluster import NAMESPACE
from penstock_worker.fleet.placement import placement_lack
from penstock_worker.fleet.supervisor import ReplicaDiedError
from penstock_worker.replica.actor import ReplicaActor
from penstock_worker.replica.registration import LoadFailure, NotLoadedError, ProcessInfo, Registration
from penstock_worker.settings import WorkerSettings

_PLACEMENT_POLL_S = 1.0
_RESTART_POLL_S = 0.05
_MAX_NAME_POLLS = 100
# More than ever are pending at once.
_MAX_PENDING_CALLS = 16


class RayReplica:
    """`ReplicaProcess` on Ray.

    Args:
        replica_id: names actor and placement group.
        settings: handed to the replica.
        num_gpus: share of a GPU, or several; 0 on CPUs.
    """

    def __init__(self, replica_id: str, settings: WorkerSettings, *, num_gpus: float) -> None:
        self._name = f"penstock-replica-{replica_id}"
        self._replica_id = replica_id
        self._settings = settings
        self._num_gpus = num_gpus
        self._group: PlacementGroup | None = None
        self._actor: ActorHandle[Any] | None = None
        self._address = ""

    async def place(self) -> None:
        """Waits until the placement group has its resources, then has Ray start the actor, if none is there."""
        group = self._group
        if group is None:
            group = self._group = await asyncio.to_thread(self._find_or_make_group)
        while not await asyncio.to_thread(group.wait, _PLACEMENT_POLL_S):
            pass
        self._actor = await asyncio.to_thread(self._find_or_make_actor, group)

    async def process(self) -> ProcessInfo:
        """Waits through a restart."""
        while True:
            try:
                process: ProcessInfo = await self._call("process")
            except _UnavailableError:
                await asyncio.sleep(_RESTART_POLL_S)
            else:
                return process

    async def lack(self) -> str:
        """Of the placement group."""
        return "" if self._group is None else await asyncio.to_thread(placement_lack, self._group)

    async def progress(self) -> str:
        """See `ReplicaActor.progress`."""
        progress: str = await self._call("progress")
        return progress

    async def load(self) -> Registration | LoadFailure:
        """See `ReplicaActor.load`."""
        loaded: Registration | LoadFailure = await self._call("load")
        if isinstance(loaded, Registration):
            self._address = loaded.address
        return loaded

    async def load_adapter(self, spec: AdapterSpec, path: Path) -> LoadFailure | None:
        """See `ReplicaActor.load_adapter`."""
        failure: LoadFailure | None = await self._call("load_adapter", spec, path)
        return failure

    async def unload_adapter(self, name: str) -> None:
        """See `ReplicaActor.unload_adapter`."""
        await self._call("unload_adapter", name)

    async def wait_for_death(self) -> None:
        """A stream of our own breaks milliseconds after the process; Ray's pending call takes seconds to say so."""
        signs = [asyncio.ensure_future(_stream_end(self._address)), asyncio.ensure_future(self._call("wait_for_death"))]
        try:
            done, _ = await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()
            await asyncio.gather(*signs, return_exceptions=True)
        for sign in done:
            sign.result()

    async def find(self) -> bool:
        """Whether a fleet before this one has made the actor."""
        try:
            self._actor = await asyncio.to_thread(ray.get_actor, self._name, NAMESPACE)
            self._group = await asyncio.to_thread(ray.util.get_placement_group, self._name)
        except ValueError:
            return False
        return True

    async def stop(self, limit_s: float) -> None:
        """See `ReplicaActor.stop`."""
        await self._call("stop", limit_s)

    async def remove(self) -> None:
        """Kills the actor and gives its resources back."""
        if self._actor is not None:
            await asyncio.to_thread(ray.kill, self._actor, no_restart=True)
        if self._group is not None:
            await asyncio.to_thread(ray.util.remove_placement_group, self._group)
        self._actor = self._group = None
        for _ in range(_MAX_NAME_POLLS):  # another replica may soon be given the name
            if not await self.find():
                break
            await asyncio.sleep(_RESTART_POLL_S)
        self._actor = self._group = None

    async def _call(self, method: str, *args: Any) -> Any:
        """Calls the actor."""
        try:
            return await getattr(self._actor, method).remote(*args)
        except ActorUnavailableError as error:
            raise _UnavailableError(_first_line(error)) from error
        except RayActorError as error:
            raise ReplicaDiedError(_first_line(error)) from error
        except NotLoadedError as error:
            raise ReplicaDiedError("its process was started anew") from error

    def _find_or_make_group(self) -> PlacementGroup:
        group: PlacementGroup
        try:
            group = ray.util.get_placement_group(self._name)
        except ValueError:  # there is none yet
            bundle = {"CPU": float(self._settings.num_threads)}
            if self._num_gpus:
                bundle["GPU"] = self._num_gpus
            group = ray.util.placement_group([bundle], strategy="STRICT_PACK", name=self._name, lifetime="detached")
        return group

    def _find_or_make_actor(self, group: PlacementGroup) -> "ActorHandle[Any]":
        maker: Any = ray.remote(ReplicaActor)
        actor: ActorHandle[Any] = maker.options(
            name=self._name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_concurrency=_MAX_PENDING_CALLS,
            num_cpus=self._settings.num_threads,
            num_gpus=self._num_gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0),
        ).remote(self._settings, self._replica_id)
        return actor


class _UnavailableError(ReplicaDiedError):
    """The process is gone and Ray is starting another."""


async def _stream_end(address: str) -> None:
    """Follows the health of the replica at `address`, which any caller may, until the connection breaks."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            async for _ in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                pass
        except grpc.aio.AioRpcError as error:
            raise ReplicaDiedError(f"the connection broke: {error.details()}") from error
    raise ReplicaDiedError("the server ended")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
