"""Late-binding dispatch: what waits is assigned, all together, to whatever credit there is."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from penstock_gateway.choice import Choice, Placement
from penstock_gateway.dispatch.balancer import select
from penstock_gateway.dispatch.fair_queue import FairQueue
from penstock_gateway.dispatch.replica_link import ReplicaLink
from penstock_gateway.generation import Generation
from penstock_shared.directory import RevisionKey
from penstock_shared.errors import InvalidArgumentError, UnavailableError

_RETRY_WITHOUT_REPLICA_S = 1.0


class Dispatcher:
    """Owns the queues, one for each revision of a model, and the open links.

    A request, and whatever is resumed of it, goes only to replicas of the revision that it was accepted for.

    Args:
        clock: monotonic seconds.
        call_soon: runs a function after the events at hand; they all go into one dispatch.
        longest_wait_s: how long a request may wait while no replica of its model is there.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        longest_wait_s: float,
    ) -> None:
        self._clock = clock
        self._call_soon = call_soon
        self._longest_wait_s = longest_wait_s
        self._queues: dict[RevisionKey, FairQueue[Generation]] = {}
        self._coming: frozenset[str] = frozenset()
        self._links: list[ReplicaLink] = []
        self._is_awake = False

    def __repr__(self) -> str:
        return f"Dispatcher(queues={self._queues!r}, links={self._links!r})"

    @property
    def links(self) -> Sequence[ReplicaLink]:
        """The open links; for a moment two of one replica, when it has restarted."""
        return self._links

    @property
    def queues(self) -> Mapping[RevisionKey, FairQueue[Generation]]:
        """What waits, by model and revision."""
        return self._queues

    def queues_of(self, model: str) -> list[FairQueue[Generation]]:
        """What waits for a model, of whatever revision."""
        return [queue for (name, _), queue in self._queues.items() if name == model]

    def num_ready(self, model: str) -> int:
        """Replicas that take work for a model now."""
        return sum(link.model == model and link.takes_work for link in self._links)

    def expect(self, models: Iterable[str]) -> None:
        """Replicas of these models are being started: requests for them wait for as long as they have."""
        self._coming = frozenset(models)

    def enqueue(self, generation: Generation) -> None:
        """A new request waits for a replica."""
        self._push(generation, is_returning=False)
        self.wake()

    def requeue(self, generation: Generation, choices: Sequence[Choice]) -> None:
        """Choices that were at a worker wait again, before their tenant's new requests."""
        generation.lose(choices)
        if not generation.is_over and generation.job.request_id not in self._queue(generation):
            self._push(generation, is_returning=True)
        self.wake()

    def reprioritize(self, generation: Generation) -> None:
        """Others wait for it than did when it was queued. What is at a worker stays there as it was submitted."""
        job = generation.job
        self._queue(generation).reprioritize(
            job.request_id, criticality=job.criticality, deadline_s=job.deadline.at_monotonic_s
        )

    def retire(self, generation: Generation) -> None:
        """A request has ended, in whatever way: it leaves the queue, and workers stop what they do for it."""
        for choice, placement in generation.abandon():
            placement.replica.cancel(choice.sequence_id, placement.attempt)
            choice.placement = None
        queue = self._queue(generation)
        queue.remove(generation.job.request_id)
        queue.charge(generation.job.tenant, generation.usage().completion_tokens)

    def add_link(self, link: ReplicaLink) -> None:
        """A session is open."""
        self._links.append(link)
        self.wake()

    def remove_link(self, link: ReplicaLink, *, was_fault: bool) -> None:
        """A session has ended: what ran there goes elsewhere, and the client need not know.

        Args:
            link: the session's.
            was_fault: the replica died or stalled, and what it was running is suspect.
        """
        self._links.remove(link)
        for generation, choices in link.take_placed().items():
            generation.resume(was_death=was_fault)
            self.requeue(generation, choices)

    def wake(self) -> None:
        """Something has changed: dispatch once the events at hand are all in."""
        if not self._is_awake:
            self._is_awake = True
            self._call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Assigns all that there is room for."""
        self._is_awake = False
        for key, queue in self._queues.items():
            if queue:
                self._dispatch_queue(queue, self._links_of(key))

    def tick(self) -> None:
        """Regular upkeep: reports demand, and ends what has waited too long for any replica to come."""
        for key, queue in list(self._queues.items()):
            links = self._links_of(key)
            for link in links:
                link.report_demand(len(queue), queue.num_tokens)
            if not links and not queue:
                del self._queues[key]  # of a revision that is gone, perhaps
            elif not links and key[0] not in self._coming:
                self._end_hopeless(key[0], queue)

    def check_invariants(self) -> None:
        """What is queued has choices that wait; ledgers and queues are sound."""
        for queue in self._queues.values():
            queue.check_invariants()
            assert all(generation.waiting for generation in queue.items())
        for link in self._links:
            link.ledger.check_invariants()

    def _push(self, generation: Generation, *, is_returning: bool) -> None:
        generation.queued_s = self._clock()
        job = generation.job
        self._queue(generation).push(
            job.request_id,
            generation,
            tenant=job.tenant,
            criticality=job.criticality,
            deadline_s=job.deadline.at_monotonic_s,
            num_tokens=0 if is_returning else len(job.prompt_token_ids),
            is_returning=is_returning,
        )

    def _queue(self, generation: Generation) -> FairQueue[Generation]:
        return self._queues.setdefault(generation.job.spec.key, FairQueue())

    def _links_of(self, key: RevisionKey) -> list[ReplicaLink]:
        return [link for link in self._links if link.revision_key == key and link.takes_work]

    def _dispatch_queue(self, queue: FairQueue[Generation], links: Sequence[ReplicaLink]) -> None:
        """Goes on in the queue's order while its head fits: a large request is not starved by small ones behind it."""
        while links and (generation := queue.peek()) is not None:
            if not generation.is_over and not self._place(generation, links):
                return
            if generation.is_over or not generation.waiting:
                queue.pop()

    def _place(self, generation: Generation, links: Sequence[ReplicaLink]) -> bool:
        """Gives a request to a replica, in part or whole. False where it must wait."""
        selection = select(links, generation.waiting_lengths(), generation.prompt_names)
        if selection is None:
            return self._refuse_too_large(generation, links)
        link = selection.replica
        attempt, choices = generation.place(link.identity, selection.num_sequences, selection.reason)
        for choice in choices:
            choice.placement = Placement(link, attempt)
        link.submit(generation, choices, attempt)
        return True

    def _refuse_too_large(self, generation: Generation, links: Iterable[ReplicaLink]) -> bool:
        """Fails what no replica's memory could ever hold."""
        most = max(link.max_sequence_tokens for link in links)
        longest = max(generation.waiting_lengths())
        if longest <= most:
            return False
        allowed = f"at most {most} tokens, which fill the memory of a replica"
        generation.fail(InvalidArgumentError("request.input", f"{longest} tokens", allowed))
        return True

    def _end_hopeless(self, model: str, queue: FairQueue[Generation]) -> None:
        latest_s = self._clock() - self._longest_wait_s
        for generation in queue.items():
            if generation.queued_s <= latest_s:
                queue.remove(generation.job.request_id)
                generation.fail(
                    UnavailableError(
                        f"no replica of {model!r} came within {self._longest_wait_s:g} s",
                        retry_after_s=_RETRY_WITHOUT_REPLICA_S,
                    )
                )
