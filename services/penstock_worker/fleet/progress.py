"""How far what is wanted of a model is reached. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_shared.directory import ReplicaInfo, ReplicaState
from penstock_worker.fleet.reconcile import RunningReplica, WantedReplicas


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """See `fleet.v1.ModelProgress`."""

    model: str
    num_wanted: int
    num_ready: int
    num_outdated: int
    is_settled: bool
    problem: str


def progress_of(
    model: str, wanted: WantedReplicas | None, running: Sequence[RunningReplica], infos: Sequence[ReplicaInfo]
) -> ModelProgress:
    """Of one model; with `wanted` None, of one that is being removed.

    Args:
        model: its name.
        wanted: of it.
        running: all replicas, of other models too.
        infos: its replicas as published.
    """
    replicas = [replica for replica in running if replica.model == model]
    current = [
        replica
        for replica in replicas
        if wanted is not None and replica.variant == wanted.variant and not (replica.is_unwanted or replica.is_leaving)
    ]
    num_wanted = 0 if wanted is None else wanted.count
    num_ready = sum(replica.is_ready for replica in current)
    num_outdated = len(replicas) - len(current)
    return ModelProgress(
        model=model,
        num_wanted=num_wanted,
        num_ready=num_ready,
        num_outdated=num_outdated,
        is_settled=num_ready == len(current) == num_wanted and num_outdated == 0,
        problem=_problem({replica.replica_id for replica in current}, infos),
    )


def _problem(current: set[str], infos: Sequence[ReplicaInfo]) -> str:
    """Of the first replica that does not come up: one that failed before one that may still come."""
    troubled = [info for info in infos if info.replica_id in current and info.detail]
    failed = [info for info in troubled if info.state is ReplicaState.FAILED]
    restarting = [info for info in troubled if info.state is ReplicaState.RESTARTING]
    placing = [info for info in troubled if info.state is ReplicaState.PLACING]
    for info in (*failed, *placing, *restarting):
        return f"{info.replica_id}: {info.detail}"
    return ""
