"""Which replica a request goes to, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from penstock_gateway.dispatch.credit import CreditLedger


class Replica(Protocol):
    """What the balancer looks at."""

    @property
    def replica_id(self) -> str:
        """Its name in the directory."""

    @property
    def num_dispatched(self) -> int:
        """Sequences that it has been given in all."""

    @property
    def ledger(self) -> CreditLedger:
        """What it has been given, counted at dispatch."""


ReplicaT = TypeVar("ReplicaT", bound=Replica)


@dataclass(frozen=True, slots=True)
class Selection(Generic[ReplicaT]):
    """A replica with room, how many of the sequences it takes now, and the reason in a few words."""

    replica: ReplicaT
    num_sequences: int
    reason: str


def select(replicas: Sequence[ReplicaT], lengths: Sequence[int]) -> Selection[ReplicaT] | None:
    """The least loaded replica with credit for all the sequences; None where they must wait.

    Sequences that would not fit together into any replica's whole credit are sent in parts, as they fit.

    Args:
        replicas: those that take work for the model.
        lengths: prompt and output so far of each sequence of a request, in tokens.
    """
    with_room = [replica for replica in replicas if replica.ledger.fits(lengths)]
    if with_room:
        best = min(with_room, key=_by_load)
        return Selection(best, len(lengths), _reason(best, with_room, replicas))
    if any(replica.ledger.can_ever_fit(lengths) for replica in replicas):
        return None
    return _select_for_a_part(replicas, lengths)


def _select_for_a_part(replicas: Sequence[ReplicaT], lengths: Sequence[int]) -> Selection[ReplicaT] | None:
    most = max(replicas, key=lambda replica: (_num_fitting(replica, lengths), -replica.ledger.load), default=None)
    if most is None or (num_fitting := _num_fitting(most, lengths)) == 0:
        return None
    return Selection(most, num_fitting, f"most credit: {num_fitting} of {len(lengths)} sequences")


def _num_fitting(replica: Replica, lengths: Sequence[int]) -> int:
    return next((count for count in range(len(lengths), 0, -1) if replica.ledger.fits(lengths[:count])), 0)


def _by_load(replica: Replica) -> tuple[float, int, str]:
    """Equal loads, idle ones above all, take turns."""
    return replica.ledger.load, replica.num_dispatched, replica.replica_id


def _reason(best: Replica, with_room: Sequence[Replica], replicas: Sequence[Replica]) -> str:
    load = best.ledger.load
    if len(replicas) == 1:
        return f"only replica: {load:.2f}"
    if len(with_room) == 1:
        return f"only replica with credit: {load:.2f}"
    runner_up = sorted(replica.ledger.load for replica in with_room)[1]
    return f"least loaded: {load:.2f} vs {runner_up:.2f}"
