"""What is to be done so that there is what is wanted. Pure: the same question has the same answer.

A replica that is not as wanted (another checkpoint, another shape, an operator's drain) is replaced make-before-break:
one more than wanted is started, and an old one goes when a new one is ready in its place. Where new ones cannot load,
the old ones serve on.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from penstock_shared.directory import ReplicaState
from penstock_worker.fleet.spec import ReplicaShape

SURGE = 1
_READY = ReplicaState.READY


@dataclass(frozen=True, slots=True)
class Variant:
    """What a replica was started as; the revision tells checkpoints apart that lie at one path one after the other."""

    shape: ReplicaShape
    revision: str


@dataclass(frozen=True, slots=True)
class WantedReplicas:
    """So many replicas of a model, all of one variant."""

    model: str
    count: int
    variant: Variant


@dataclass(frozen=True, slots=True)
class RunningReplica:
    """A replica that there is.

    Attributes:
        is_unwanted: another one is wanted in its place.
        is_leaving: it is being drained already.
        is_being_found: the fleet has just started and looks whether it serves.
    """

    replica_id: str
    model: str
    variant: Variant
    state: ReplicaState
    is_unwanted: bool = False
    is_leaving: bool = False
    is_being_found: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it takes work."""
        return self.state is _READY


@dataclass(frozen=True, slots=True)
class StartReplica:
    """A replica is to be started."""

    wanted: WantedReplicas
    replica_id: str


@dataclass(frozen=True, slots=True)
class DrainReplica:
    """A replica is to finish its work and go."""

    replica_id: str


Action = StartReplica | DrainReplica


def reconcile(
    wanted: Sequence[WantedReplicas],
    running: Sequence[RunningReplica],
    *,
    released: Collection[tuple[str, str]] = (),
) -> list[Action]:
    """The next actions; none where all is as wanted, or where replicas must get ready first.

    Args:
        wanted: one entry a model.
        running: all replicas that there are.
        released: models and revisions that no request is for any more: their last replica may go.
    """
    actions: list[Action] = []
    for each in wanted:
        of_model = [replica for replica in running if replica.model == each.model]
        actions += _reconcile_model(each, of_model, released)
    names = {each.model for each in wanted}
    actions += [
        DrainReplica(replica.replica_id) for replica in running if replica.model not in names and not replica.is_leaving
    ]
    return actions


def _reconcile_model(
    wanted: WantedReplicas, replicas: Sequence[RunningReplica], released: Collection[tuple[str, str]]
) -> Iterator[Action]:
    staying = [replica for replica in replicas if not replica.is_leaving]
    current = [replica for replica in staying if replica.variant == wanted.variant and not replica.is_unwanted]
    outdated = [replica for replica in staying if replica not in current]
    has_proof = any(replica.is_ready for replica in current)  # that replicas as wanted can serve
    useless = [replica for replica in outdated if _is_useless(replica, has_proof=has_proof)]
    serving = [replica for replica in outdated if replica not in useless]
    room = wanted.count + (SURGE if serving else 0) - len(current) - len(serving)
    num_missing = min(room, wanted.count - len(current))
    if num_missing > 0:
        taken = {replica.replica_id for replica in replicas}
        yield from (StartReplica(wanted, name) for name in _free_names(wanted.model, taken, num_missing))
    if any(replica.is_being_found for replica in staying):
        return  # what serves is not known yet
    yield from (DrainReplica(replica.replica_id) for replica in useless)
    num_ready = sum(replica.is_ready for replica in (*current, *serving))
    going = _dispensable(serving, num_ready - wanted.count, wanted, released)
    yield from (DrainReplica(replica.replica_id) for replica in going)
    yield from (DrainReplica(replica.replica_id) for replica in _excess(current, len(current) - wanted.count))


def _is_useless(replica: RunningReplica, *, has_proof: bool) -> bool:
    """Not as wanted, and it serves nobody. One that only restarts is kept until a new one has shown to do better."""
    if replica.is_ready or replica.is_being_found:
        return False
    return has_proof or replica.state in (ReplicaState.FAILED, ReplicaState.PLACING) or replica.is_unwanted


def _dispensable(
    serving: Sequence[RunningReplica],
    num_spare: int,
    wanted: WantedReplicas,
    released: Collection[tuple[str, str]],
) -> list[RunningReplica]:
    """Outdated replicas that can go now. The last of a revision stays for as long as requests are for it."""
    going: list[RunningReplica] = []
    left = [replica for replica in serving if replica.is_ready]
    for replica in list(left):
        if len(going) >= num_spare:
            break
        revision = replica.variant.revision
        is_last = sum(other.variant.revision == revision for other in left) == 1
        if revision != wanted.variant.revision and is_last and (wanted.model, revision) not in released:
            continue
        going.append(replica)
        left.remove(replica)
    return going


def _excess(current: Sequence[RunningReplica], num_excess: int) -> list[RunningReplica]:
    """Those that serve nobody first, then the youngest names."""
    ranked = sorted(current, key=lambda replica: (replica.is_ready, -_index(replica.replica_id)))
    return ranked[: max(0, num_excess)]


def _free_names(model: str, taken: Collection[str], count: int) -> Iterator[str]:
    """The first names that no replica has."""
    names = (f"{model}-{index}" for index in range(len(taken) + count))
    free = (name for name in names if name not in taken)
    for _ in range(count):
        yield next(free)


def _index(replica_id: str) -> int:
    digits = replica_id.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
