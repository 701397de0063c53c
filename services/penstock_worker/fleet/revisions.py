"""Which revisions of a model new requests are for while it is being updated. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_worker.fleet.reconcile import RunningReplica, WantedReplicas


@dataclass(frozen=True, slots=True)
class PublishedRevisions:
    """What the directory says of a model.

    Attributes:
        current: the revision that it names first.
        others: those that replicas have besides, or are to have.
        is_shared: new requests may be for the others too.
    """

    current: str
    others: tuple[str, ...] = ()
    is_shared: bool = False


def published_revisions(wanted: WantedReplicas, replicas: Sequence[RunningReplica]) -> PublishedRevisions:
    """The old revision stays the first until as many new replicas as wanted are ready; then it gets no new requests.

    Args:
        wanted: of the model.
        replicas: all that there are of it.
    """
    new = wanted.variant.revision
    staying = [replica for replica in replicas if not replica.is_leaving]
    num_ready = Counter(replica.variant.revision for replica in staying if replica.is_ready)
    present = sorted({replica.variant.revision for replica in staying} - {new})
    old = [revision for revision in present if num_ready[revision]]
    if not old or num_ready[new] >= wanted.count:
        return PublishedRevisions(new, tuple(present))
    current = max(old, key=lambda revision: num_ready[revision])
    others = [new, *(revision for revision in present if revision != current)]
    return PublishedRevisions(current, tuple(others), is_shared=True)
