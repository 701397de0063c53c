"""A replica on Ray: a leader and its shards, in a placement group of their own. They outlive the fleet actor."""

import asyncio
from pathlib import Path

import grpc
import ray
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ray.util.placement_group import PlacementGroup

from penstock_shared.channels import connect
from penstock_shared.directory import AdapterSpec
from penstock_shared.inner_tls import InnerTls
from penstock_worker.fleet.placement import emptiest_node, placement_lack
from penstock_worker.fleet.ray_process import RayProcess
from penstock_worker.fleet.supervisor import ReplicaDiedError
from penstock_worker.parallel.rendezvous import Invitation
from penstock_worker.replica.actor import ReplicaActor
from penstock_worker.replica.registration import LoadFailure, ProcessInfo, Registration
from penstock_worker.replica.shard_actor import ShardActor
from penstock_worker.settings import WorkerSettings

_PLACEMENT_POLL_S = 1.0
# A leader that says nothing for so long hangs: it answers within milliseconds, whatever its engine does.
_HEALTH_INTERVAL_S = 0.5
_SILENCE_LIMIT_S = 3.0
_RETRY_S = 0.05


class RayReplica:
    """`ReplicaProcess` on Ray.

    Args:
        replica_id: names actors and placement group.
        settings: handed to the replica.
        num_gpus: share of a GPU, or several, of each process; 0 on CPUs.
        turn: held by the replica that is being placed: the next one is to see where.
        tls: between the services; None: plaintext.
    """

    def __init__(
        self,
        replica_id: str,
        settings: WorkerSettings,
        *,
        num_gpus: float,
        turn: asyncio.Lock,
        tls: InnerTls | None = None,
    ) -> None:
        self._name = f"penstock-replica-{replica_id}"
        self._settings = settings
        self._turn = turn
        self._tls = tls
        self._bundle: dict[str, float] = {"CPU": float(settings.num_threads_per_shard)}
        if num_gpus:
            self._bundle["GPU"] = num_gpus
        self._leader = RayProcess(ReplicaActor, self._name, (settings, replica_id), self._bundle)
        self._shards = [
            RayProcess(ShardActor, f"{self._name}-shard-{rank}", (settings, rank), self._bundle)
            for rank in range(1, settings.num_shards)
        ]
        self._group: PlacementGroup | None = None
        self._address = ""

    async def place(self) -> None:
        """Waits until the placement group has its resources, then has Ray start the actors, if they are not there."""
        group = self._group
        if group is None:
            async with self._turn:
                group = self._group = await asyncio.to_thread(self._find_or_make_group)
                await asyncio.to_thread(group.wait, _PLACEMENT_POLL_S)
        while not await asyncio.to_thread(group.wait, _PLACEMENT_POLL_S):
            pass
        await asyncio.gather(*(process.start(group, rank) for rank, process in enumerate(self._processes)))

    async def process(self) -> ProcessInfo:
        """The leader's; waits through a restart."""
        leader, *_ = await asyncio.gather(*(process.process() for process in self._processes))
        return leader

    async def lack(self) -> str:
        """Of the placement group."""
        return "" if self._group is None else await asyncio.to_thread(placement_lack, self._group)

    async def progress(self) -> str:
        """See `ReplicaActor.progress`."""
        progress: str = await self._leader.call("progress")
        return progress

    async def load(self) -> Registration | LoadFailure:
        """See `ReplicaActor.load`."""
        invitation: Invitation | None = await self._leader.call("invite")
        if invitation is not None:
            await asyncio.gather(*(self._join(shard, invitation) for shard in self._shards))
        loaded: Registration | LoadFailure = await self._leader.call("load")
        if isinstance(loaded, Registration):
            self._address = loaded.address
        return loaded

    async def load_adapter(self, spec: AdapterSpec, path: Path) -> LoadFailure | None:
        """See `ReplicaActor.load_adapter`."""
        failure: LoadFailure | None = await self._leader.call("load_adapter", spec, path)
        return failure

    async def unload_adapter(self, name: str) -> None:
        """See `ReplicaActor.unload_adapter`."""
        await self._leader.call("unload_adapter", name)

    async def wait_for_death(self) -> None:
        """A stream of our own breaks milliseconds after the process; Ray's pending call takes seconds to say so.

        A leader that hangs breaks nothing, and answers nobody. Whatever it was, none of the replica's processes is
        left: shards end with their leader, and one that hangs would not.
        """
        signs = [
            asyncio.ensure_future(_stream_end(self._address, self._tls)),
            asyncio.ensure_future(_silence(self._address, self._tls)),
            asyncio.ensure_future(self._leader.call("wait_for_death")),
        ]
        try:
            done, _ = await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()
            await asyncio.gather(*signs, return_exceptions=True)
        await asyncio.gather(*(process.kill() for process in self._processes))
        for sign in done:
            sign.result()

    async def find(self) -> bool:
        """Whether a fleet before this one has made all of it."""
        found = [await process.find() for process in self._processes]
        try:
            self._group = await asyncio.to_thread(ray.util.get_placement_group, self._name)
        except ValueError:
            return False
        return all(found)

    async def stop(self, limit_s: float) -> None:
        """See `ReplicaActor.stop`."""
        await self._leader.call("stop", limit_s)

    async def remove(self) -> None:
        """Kills the actors and gives their resources back."""
        await asyncio.gather(*(process.remove() for process in self._processes))
        if self._group is not None:
            await asyncio.to_thread(ray.util.remove_placement_group, self._group)
        self._group = None

    @property
    def _processes(self) -> list[RayProcess]:
        """By rank."""
        return [self._leader, *self._shards]

    async def _join(self, shard: RayProcess, invitation: Invitation) -> None:
        """One that followed a leader of before ends instead, and Ray starts another, which joins."""
        while True:
            try:
                await shard.call("join", invitation)
            except ReplicaDiedError:
                await asyncio.sleep(_RETRY_S)
                await shard.process()
            else:
                return

    def _find_or_make_group(self) -> PlacementGroup:
        group: PlacementGroup
        try:
            group = ray.util.get_placement_group(self._name)
        except ValueError:  # there is none yet
            bundles = [dict(self._bundle) for _ in self._processes]
            group = ray.util.placement_group(bundles, name=self._name, lifetime="detached", **self._strategy())
        return group

    def _strategy(self) -> dict[str, str]:
        """All shards of a layer must be on one host to share memory; stages may be apart."""
        if self._settings.pipeline_parallel > 1:
            return {"strategy": "PACK"}
        total = {name: amount * len(self._processes) for name, amount in self._bundle.items()}
        node_id = emptiest_node(total)
        target = {} if node_id is None else {"_soft_target_node_id": node_id}
        return {"strategy": "STRICT_PACK"} | target


async def _stream_end(address: str, tls: InnerTls | None) -> None:
    """Follows the health of the replica at `address`, which any caller may, until the connection breaks."""
    async with connect(address, tls) as channel:
        try:
            async for _ in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                pass
        except grpc.aio.AioRpcError as error:
            raise ReplicaDiedError(f"the connection broke: {error.details()}") from error
    raise ReplicaDiedError("the server ended")


async def _silence(address: str, tls: InnerTls | None) -> None:
    """Asks the replica at `address` for its health until it does not answer."""
    async with connect(address, tls) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                await health.Check(health_pb2.HealthCheckRequest(), timeout=_SILENCE_LIMIT_S)
            except grpc.aio.AioRpcError as error:
                raise ReplicaDiedError(f"no sign of life: {error.details()}") from error
            await asyncio.sleep(_HEALTH_INTERVAL_S)
