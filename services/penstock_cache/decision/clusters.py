"""What labels have shown of single clusters, bounded."""

from collections import OrderedDict
from dataclasses import dataclass

from penstock_cache.decision.effect import Effect


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What is known of a cluster.

    Attributes:
        effect: how much better or worse than its scores say.
        checked_s: when a label last told of its answer.
        stale_chance: that its answer was outdated then.
    """

    effect: Effect
    checked_s: float
    stale_chance: float


class Clusters:
    """States of the clusters that were learned of last; the others are as new ones.

    Args:
        capacity: how many are kept.
        deviation: standard deviation of effects among clusters.
    """

    def __init__(self, *, capacity: int, deviation: float) -> None:
        self._capacity = capacity
        self._unknown = Effect(0.0, deviation * deviation)
        self._states: OrderedDict[str, ClusterState] = OrderedDict()  # least recently learned of first

    def __len__(self) -> int:
        return len(self._states)

    def state(self, cluster: str, created_s: float) -> ClusterState:
        """What is known of a cluster with an answer of that time."""
        known = self._states.get(cluster)
        return known or ClusterState(self._unknown, created_s, 0.0)

    def put(self, cluster: str, state: ClusterState) -> None:
        """Keeps what is now known."""
        self._states[cluster] = state
        self._states.move_to_end(cluster)
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)
