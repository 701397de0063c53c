"""What this gateway has to do for each revision of each model. No I/O."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.models import ModelCatalog
from penstock_shared.directory import Directory, ReplicaState, RevisionKey

# Over so long it is seen how fast what waits gets its turn.
_RATE_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class RevisionDemand:
    """See `fleet.v1.RevisionDemand`."""

    model: str
    revision: str
    num_requests: int
    num_running: int
    num_waiting: int
    num_waiting_tokens: int
    predicted_wait_s: float
    placed_per_s: float


class DemandMeter:
    """Looks at catalog and dispatcher.

    Args:
        models: knows the requests under way.
        dispatcher: knows what waits and what runs.
        clock: monotonic seconds.
    """

    def __init__(self, models: ModelCatalog, dispatcher: Dispatcher, clock: Callable[[], float]) -> None:
        self._models = models
        self._dispatcher = dispatcher
        self._clock = clock
        self._placed: dict[RevisionKey, deque[tuple[float, int]]] = {}

    def demand(self) -> list[RevisionDemand]:
        """Now; to be asked regularly, for the rate is seen between two looks."""
        now_s = self._clock()
        keys = {*self._models.num_requests, *self._dispatcher.queues, *self._running_keys()}
        self._placed = {key: looks for key, looks in self._placed.items() if key in keys}
        return [self._of(key, now_s) for key in sorted(keys)]

    def _running_keys(self) -> Iterable[RevisionKey]:
        return (link.revision_key for link in self._dispatcher.links)

    def _of(self, key: RevisionKey, now_s: float) -> RevisionDemand:
        queue = self._dispatcher.queues.get(key)
        waiting = [] if queue is None else queue.items()
        links = [link for link in self._dispatcher.links if link.revision_key == key]
        oldest_s = max((now_s - generation.queued_s for generation in waiting), default=0.0)
        rate = self._rate(key, now_s, sum(link.num_dispatched for link in links))
        return RevisionDemand(
            model=key[0],
            revision=key[1],
            num_requests=self._models.num_requests.get(key, 0),
            num_running=sum(link.ledger.num_sequences for link in links),
            num_waiting=len(waiting),
            num_waiting_tokens=0 if queue is None else queue.num_tokens,
            predicted_wait_s=max(oldest_s, len(waiting) / rate if rate else 0.0),
            placed_per_s=rate,
        )

    def _rate(self, key: RevisionKey, now_s: float, num_placed: int) -> float:
        """Sequences that got their turn, a second, lately."""
        looks = self._placed.setdefault(key, deque())
        if looks and looks[-1][1] > num_placed:  # a replica went, and its count with it
            looks.clear()
        looks.append((now_s, num_placed))
        while looks[0][0] < now_s - _RATE_WINDOW_S:
            looks.popleft()
        (first_s, first), (last_s, last) = looks[0], looks[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def models_coming(directory: Directory) -> Sequence[str]:
    """Those that requests may wait for: replicas are being started, or a request brings one up.

    One that is placed and says something waits for resources, and nobody knows how long.
    """
    starting = (
        replica.model
        for replica in directory.replicas
        if replica.state is ReplicaState.LOADING or (replica.state is ReplicaState.PLACING and not replica.detail)
    )
    return [*directory.asleep, *starting]
