"""Waits until a fleet is as wanted, and tells each step on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from penstock.cli.errors import FAILED, CommandError
from penstock.cli.fleet_calls import ASK_TIMEOUT_S, Ask
from penstock.fleet.v1 import fleet_pb2

_POLL_S = 0.25
# A start that fails is tried again; this long it may be on the way.
_PROBLEM_S = 3.0
_STATE_PREFIX = "REPLICA_STATE_"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command waits, in seconds; not at all where it is not waiting."""

    timeout_s: float
    is_waiting: bool = True


def state_name(replica: fleet_pb2.Replica) -> str:
    """Of a replica, as people read it."""
    return fleet_pb2.ReplicaState.Name(replica.state).removeprefix(_STATE_PREFIX).lower()


def wait_until_settled(
    ask: Ask,
    patience: Patience,
    *,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when all is as wanted.

    Args:
        ask: calls the fleet.
        patience: how long to wait.
        tell: gets a line for each change.
        clock: monotonic seconds.
        sleep: waits a number of seconds.

    Raises:
        CommandError: it is not, in time, or a replica has failed; says which.
    """
    steps = _Steps(tell)
    ends_s = clock() + patience.timeout_s
    problem_since_s: float | None = None
    while patience.is_waiting:
        fleet = ask("GetFleet", fleet_pb2.GetFleetRequest(), ASK_TIMEOUT_S)
        steps.take(fleet.directory.replicas)
        if all(progress.is_settled for progress in fleet.progress):
            return
        problem = next((progress.problem for progress in fleet.progress if progress.problem), "")
        problem_since_s = (problem_since_s or clock()) if problem else None
        if problem_since_s is not None and clock() - problem_since_s >= _PROBLEM_S:
            raise CommandError(f"{problem}; the others serve on, see `penstock fleet status`", FAILED)
        if clock() >= ends_s:
            raise CommandError(f"not done after {patience.timeout_s:g} s; the fleet goes on", FAILED)
        sleep(_POLL_S)


class _Steps:
    """Tells of each replica whose state or detail is another than before."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[str, tuple[str, str]] | None = None

    def take(self, replicas: "list[fleet_pb2.Replica]") -> None:
        now = {replica.replica_id: (state_name(replica), replica.detail) for replica in replicas}
        before, self._known = self._known, now
        if before is None:
            return
        for replica_id, (state, detail) in now.items():
            if before.get(replica_id) != (state, detail):
                self._tell(f"{replica_id}  {state}{f'  {detail}' if detail else ''}")
        for replica_id in before.keys() - now.keys():
            self._tell(f"{replica_id}  gone")
