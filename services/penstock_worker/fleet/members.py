"""The replicas that there are, each followed by a supervisor until it has been drained and removed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from penstock_shared.directory import ModelSpec, ReplicaInfo, ReplicaState
from penstock_shared.logs import get_logger
from penstock_worker.fleet.directory import FleetDirectory
from penstock_worker.fleet.reconcile import RunningReplica, Variant
from penstock_worker.fleet.spec import ReplicaShape
from penstock_worker.fleet.state_file import KnownReplica
from penstock_worker.fleet.supervisor import ReplicaProcess, ReplicaSupervisor

_SERVING = (ReplicaState.READY, ReplicaState.DRAINING)
_BEING_LOOKED_AT = (ReplicaState.UNSPECIFIED, ReplicaState.PLACING, ReplicaState.LOADING)

MakeProcess = Callable[[str, str, ReplicaShape], ReplicaProcess]


@dataclass(slots=True)
class _Member:
    known: KnownReplica
    supervisor: ReplicaSupervisor
    is_being_found: bool
    run: "asyncio.Task[None] | None" = None
    end: "asyncio.Task[None] | None" = None
    info: ReplicaInfo | None = field(default=None)

    @property
    def state(self) -> ReplicaState:
        return ReplicaState.UNSPECIFIED if self.info is None else self.info.state


class Members:
    """Starts replicas, finds them again, and drains them.

    Args:
        make_process: of a replica's id, its model's name and its shape.
        directory: told of every stage of each.
        prepare: brings a replica of a model to what it needs besides before it serves.
        on_change: called after each change.
        stop_margin_s: a replica that has not ended so long after its limit is ended by force.
    """

    def __init__(
        self,
        *,
        make_process: MakeProcess,
        directory: FleetDirectory,
        prepare: Callable[[str, ReplicaProcess], Awaitable[None]],
        on_change: Callable[[], None],
        stop_margin_s: float,
    ) -> None:
        self._make_process = make_process
        self._directory = directory
        self._prepare = prepare
        self._on_change = on_change
        self._stop_margin_s = stop_margin_s
        self._members: dict[str, _Member] = {}
        self._log = get_logger("fleet")

    def __repr__(self) -> str:
        return f"Members({', '.join(sorted(self._members))})"

    @property
    def known(self) -> tuple[KnownReplica, ...]:
        """For the state file."""
        return tuple(member.known for member in self._members.values())

    def running(self) -> list[RunningReplica]:
        """As reconciliation sees them."""
        return [
            RunningReplica(
                replica_id=replica_id,
                model=member.known.model,
                variant=Variant(member.known.shape, member.known.revision),
                state=member.state,
                is_unwanted=member.known.is_unwanted,
                is_leaving=member.known.is_leaving,
                is_being_found=member.is_being_found,
            )
            for replica_id, member in self._members.items()
        ]

    def infos(self, model: str) -> list[ReplicaInfo]:
        """As last published, those of a model."""
        return [member.info for member in self._members.values() if member.info and member.known.model == model]

    def serving(self, model: str) -> list[ReplicaProcess]:
        """Those of a model that serve, drained ones included."""
        return [
            member.supervisor.process
            for member in self._members.values()
            if member.known.model == model and member.state in _SERVING
        ]

    def start(self, known: KnownReplica, spec: ModelSpec, *, is_found: bool = False) -> None:
        """Begins to bring a replica up, or to find it again, where the fleet was started anew."""
        member = self._add(known, spec, is_being_found=is_found)
        member.run = asyncio.create_task(member.supervisor.run())

    def finish(self, known: KnownReplica, spec: ModelSpec, limit_s: float) -> None:
        """Goes on draining a replica, when the fleet was started anew."""
        member = self._add(known, spec, is_being_found=False)
        member.end = asyncio.create_task(self._finish(member, limit_s))

    def mark_unwanted(self, replica_id: str, drain_limit_s: float | None) -> None:
        """Another one is wanted in its place."""
        member = self._members[replica_id]
        member.known = member.known.model_copy(update={"is_unwanted": True, "drain_limit_s": drain_limit_s})

    def drain(self, replica_id: str, limit_s: float) -> None:
        """Lets a replica finish its work for `limit_s` seconds, or as long as was said of it; then it is gone."""
        member = self._members[replica_id]
        assert not member.known.is_leaving, f"{replica_id} is being drained already"
        member.known = member.known.model_copy(update={"is_leaving": True})
        member.end = asyncio.create_task(self._drain(member, member.known.drain_limit_s or limit_s))

    async def stop(self, limit_s: float) -> None:
        """Drains all of them at once and waits for it; those that are being drained get no longer either."""
        for replica_id, member in list(self._members.items()):
            if not member.known.is_leaving:
                self.drain(replica_id, limit_s)
        ends = [member.end for member in self._members.values() if member.end is not None]
        if ends:
            _, late = await asyncio.wait(ends, timeout=limit_s + self._stop_margin_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for member in list(self._members.values()):
            await member.supervisor.process.remove()

    def _add(self, known: KnownReplica, spec: ModelSpec, *, is_being_found: bool) -> _Member:
        process = self._make_process(known.replica_id, known.model, known.shape)

        async def prepare(started: ReplicaProcess) -> None:
            await self._prepare(known.model, started)

        supervisor = ReplicaSupervisor(
            known.replica_id, spec, process, publish=lambda info: self._take(member, info), prepare=prepare
        )
        member = self._members[known.replica_id] = _Member(known, supervisor, is_being_found)
        return member

    def _take(self, member: _Member, info: ReplicaInfo) -> None:
        member.info = info
        member.is_being_found = member.is_being_found and info.state in _BEING_LOOKED_AT
        self._directory.put_replica(info)
        self._on_change()

    async def _drain(self, member: _Member, limit_s: float) -> None:
        assert member.run is not None, "it runs"
        member.run.cancel()
        await asyncio.gather(member.run, return_exceptions=True)
        await self._end(member, member.supervisor.stop(limit_s), limit_s)

    async def _finish(self, member: _Member, limit_s: float) -> None:
        await self._end(member, member.supervisor.stop_found(limit_s), limit_s)

    async def _end(self, member: _Member, stopping: Awaitable[None], limit_s: float) -> None:
        """Whatever happens, it is removed and forgotten."""
        replica_id = member.known.replica_id
        try:
            await asyncio.wait_for(stopping, limit_s + self._stop_margin_s)
        except TimeoutError:
            self._log.error("a replica did not end in time", replica=replica_id)
            await member.supervisor.process.remove()
        except Exception:  # noqa: BLE001 - the boundary: it must not stay for ever as one that leaves
            self._log.exception("draining failed", replica=replica_id)
        del self._members[replica_id]
        self._directory.drop_replica(replica_id)
        self._on_change()
