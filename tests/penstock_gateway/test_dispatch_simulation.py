"""Random histories of requests, steps, credit, cancels and deaths, on the decision parts alone.

The replicas here keep the worker's own books: overspent credit or a lost, repeated or misplaced token fails the run.
"""

import asyncio
import itertools
import random
from collections.abc import Callable

import pytest
from fakes.clock import FakeClock
from fakes.generations import VOCABULARY, follower, job
from fakes.simulated_replica import NUM_SEQUENCES, SimulatedReplica, expected_output, open_link

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.events import Delta
from penstock_gateway.generation import Generation
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import PenstockError


class Simulation:
    """A dispatcher, its replicas and its requests; nothing else, and no I/O."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pending: list[Callable[[], None]] = []
        self.dispatcher = Dispatcher(clock=self.clock, call_soon=self.pending.append, longest_wait_s=1e9)
        self.replicas: list[SimulatedReplica] = []
        self.open: dict[str, tuple[Generation, AnswerBuffer]] = {}
        self.ended: list[tuple[Generation, AnswerBuffer, bool]] = []
        self.sequence_ids = itertools.count(1)
        self.num_requests = 0
        self.num_replicas = 0
        self.open_replica()

    def open_replica(self) -> None:
        """A session opens."""
        self.num_replicas += 1
        link = open_link(f"replica-{self.num_replicas}", self.dispatcher, self.clock)
        self.replicas.append(SimulatedReplica(link))
        self.dispatcher.add_link(link)

    def close_replica(self, replica: SimulatedReplica) -> None:
        """A session ends, by no fault of what ran there."""
        self.replicas.remove(replica)
        self.dispatcher.remove_link(replica.link, was_fault=False)

    def arrive(self, num_choices: int, tenant: str) -> None:
        """A new request."""
        self.num_requests += 1
        request_id = f"r{self.num_requests}"
        buffer = AnswerBuffer(is_streaming=True, max_bytes=1 << 20, on_overflow=lambda: None)
        made = job(request_id, num_choices=num_choices, tenant=tenant, deadline=Deadline(1e6, self.clock))
        generation = Generation(made, vocabulary=VOCABULARY, new_sequence_id=lambda: next(self.sequence_ids))
        generation.join(follower(made, buffer=buffer))
        self.open[request_id] = (generation, buffer)
        self.dispatcher.enqueue(generation)

    def cancel(self, choice: random.Random) -> None:
        """A client goes away."""
        if self.open:
            generation, buffer = self.open.pop(choice.choice(sorted(self.open)))
            was_over = generation.is_over
            self.dispatcher.retire(generation)
            self.ended.append((generation, buffer, not was_over))

    def dispatch(self) -> None:
        """What was put off is done; replicas do not hear of it yet."""
        for callback in [self.pending.pop() for _ in range(len(self.pending))]:
            callback()

    def settle(self) -> None:
        """Everything that can happen without new events happens."""
        while self.pending or any(replica.link._submits or replica.link._cancels for replica in self.replicas):
            self.dispatch()
            for replica in self.replicas:
                replica.exchange()
        for request_id, (generation, buffer) in list(self.open.items()):
            if generation.is_over:
                self.dispatcher.retire(generation)
                self.ended.append((generation, buffer, False))
                del self.open[request_id]
        self.dispatcher.check_invariants()

    def finish(self) -> None:
        """Runs until nothing is left."""
        if not self.replicas:
            self.open_replica()
        for replica in self.replicas:
            replica.grant(NUM_SEQUENCES)
        for _ in range(1000):
            self.settle()
            if not self.open:
                return
            for replica in self.replicas:
                replica.step()
        raise AssertionError(f"still open: {self.open}")


def play(simulation: Simulation, chance: random.Random) -> None:
    """One event, drawn by chance."""
    kinds = ["arrive", "step", "settle", "dispatch", "open", "close", "cancel", "credit"]
    kind = chance.choices(kinds, weights=[4, 6, 6, 3, 1, 1, 1, 2])[0]
    replica = chance.choice(simulation.replicas) if simulation.replicas else None
    if kind == "arrive":
        simulation.arrive(chance.randint(1, 5), chance.choice("ab"))
    elif kind == "settle":
        simulation.settle()
    elif kind == "dispatch":
        simulation.dispatch()
    elif kind == "open":
        simulation.open_replica()
    elif kind == "cancel":
        simulation.cancel(chance)
    elif replica is not None and kind == "close":
        simulation.close_replica(replica)
    elif replica is not None and kind == "credit":
        replica.grant(chance.randint(0, 6))
    elif replica is not None:
        for _ in range(chance.randint(1, 8)):
            replica.step()


async def output_of(buffer: AnswerBuffer) -> dict[int, bytes]:
    """All token ids of a closed answer, by choice."""
    said: dict[int, bytes] = {}
    while events := await buffer.next_events():
        for event in events:
            if isinstance(event, Delta):
                said[event.choice] = said.get(event.choice, b"") + bytes(event.token_ids)
    return said


@pytest.mark.parametrize("first_seed", range(0, 200, 100))
def test_every_request_ends_with_exactly_its_tokens(first_seed: int) -> None:
    """Whatever happens meanwhile: credit taken back, sessions ending in mid-step, cancels at any moment."""
    num_resumed = 0
    for seed in range(first_seed, first_seed + 100):
        simulation = run_history(seed)
        num_resumed += sum(generation.num_resumed for generation, _, _ in simulation.ended)
        for generation, buffer, was_cancelled in simulation.ended:
            check_output(generation, asyncio.run(output_of(buffer)), seed, was_cancelled=was_cancelled)
    assert num_resumed > 100, "the histories have become too tame"


def run_history(seed: int) -> Simulation:
    """A history, to its end, where nothing may be left anywhere."""
    simulation, chance = Simulation(), random.Random(seed)
    for _ in range(60):
        play(simulation, chance)
    simulation.finish()
    assert len(simulation.ended) == simulation.num_requests, f"seed {seed}"
    for replica in simulation.replicas:
        assert (replica.running, replica.link.ledger.num_sequences) == ({}, 0), f"seed {seed}"
    assert all(len(queue) == 0 for queue in simulation.dispatcher.queues.values()), f"seed {seed}"
    return simulation


def check_output(generation: Generation, said: dict[int, bytes], seed: int, *, was_cancelled: bool) -> None:
    """No token lost, none twice, none of another choice."""
    for index in range(generation.job.sampling.n):
        whole = expected_output(generation.job.request_id, index)
        if was_cancelled:
            assert whole.startswith(said.get(index, b"")), f"seed {seed}"
        else:
            assert said[index] == whole, f"seed {seed}"


def test_a_prompt_that_no_replica_can_hold_is_refused() -> None:
    """It would wait for ever."""
    simulation = Simulation()
    simulation.replicas[0].grant(0)
    simulation.replicas[0].link.max_sequence_tokens = 9
    simulation.arrive(1, "a")
    simulation.settle()
    ((_, buffer, _),) = simulation.ended
    with pytest.raises(PenstockError, match="at most 9 tokens"):
        asyncio.run(output_of(buffer))
