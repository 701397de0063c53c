"""Requests with common beginnings over several replicas: hits are gained, and nobody is overloaded for them.

The decision parts alone, without I/O.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fakes.clock import FakeClock
from fakes.generations import VOCABULARY, follower, job
from fakes.simulated_replica import SimulatedPrefixes, SimulatedReplica, credit, open_link

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.generation import Generation
from penstock_shared.deadlines import Deadline
from penstock_shared.prefix_chain import CHAIN_FUNCTION

NUM_REPLICAS = 4
NUM_SEQUENCES = 32
NUM_SHARED_TOKENS = 512
NUM_TOKENS = NUM_SHARED_TOKENS + 10


@dataclass
class Traffic:
    """A steady stream of requests that leaves the replicas about half busy.

    Args:
        num_prefixes: how many different beginnings there are.
        is_told: whether replicas tell what they have computed.
    """

    num_prefixes: int
    is_told: bool
    largest_gap: float = 0.0
    pending: list[Callable[[], None]] = field(default_factory=list)
    open: list[Generation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(7)
        self.clock = FakeClock()
        self.sequence_ids = itertools.count(1)
        self.dispatcher = Dispatcher(clock=self.clock, call_soon=self.pending.append, longest_wait_s=1e9)
        self.replicas = [self._open_replica(i) for i in range(NUM_REPLICAS)]

    def run(self, num_steps: int) -> None:
        """Some requests arrive at each step, now and then many at once."""
        for step in range(num_steps):
            for _ in range(24 if step % 20 == 0 else self.chance.randint(0, 4)):
                self._arrive()
            self._settle()
            loads = [replica.link.ledger.load for replica in self.replicas]
            self.largest_gap = max(self.largest_gap, max(loads) - min(loads))
            for replica in self.replicas:
                replica.step()
            self._retire()

    @property
    def hit_rate(self) -> float:
        """Share of all prompt tokens that were found."""
        prefixes = [replica.prefixes for replica in self.replicas if replica.prefixes is not None]
        return sum(each.num_found_tokens for each in prefixes) / sum(each.num_query_tokens for each in prefixes)

    def _open_replica(self, number: int) -> SimulatedReplica:
        granted = credit(1, NUM_SEQUENCES, prefill_tokens=NUM_SEQUENCES * NUM_TOKENS)
        chain_function = CHAIN_FUNCTION if self.is_told else ""
        link = open_link(f"replica-{number}", self.dispatcher, self.clock, granted, chain_function=chain_function)
        self.dispatcher.add_link(link)
        return SimulatedReplica(link, num_sequences=NUM_SEQUENCES, prefixes=SimulatedPrefixes(max_prompts=8))

    def _arrive(self) -> None:
        prefix = self.chance.randrange(self.num_prefixes)
        prompt = [*[prefix] * NUM_SHARED_TOKENS, *(self.chance.randrange(100) for _ in range(10))]
        made = job(f"r{next(self.sequence_ids)}", deadline=Deadline(1e6, self.clock), prompt_token_ids=prompt)
        generation = Generation(made, vocabulary=VOCABULARY, new_sequence_id=lambda: next(self.sequence_ids))
        buffer = AnswerBuffer(is_streaming=True, max_bytes=1 << 20, on_overflow=lambda: None)
        generation.join(follower(made, buffer=buffer))
        self.open.append(generation)
        self.dispatcher.enqueue(generation)

    def _settle(self) -> None:
        while self.pending:
            self.pending.pop()()
            for replica in self.replicas:
                replica.exchange()

    def _retire(self) -> None:
        for generation in [each for each in self.open if each.is_over]:
            self.dispatcher.retire(generation)
            self.open.remove(generation)


@pytest.fixture(scope="module", params=[1, 24])
def runs(request: pytest.FixtureRequest) -> tuple[Traffic, Traffic]:
    """The same traffic to replicas that tell what they have computed, and to replicas that do not."""
    made = Traffic(request.param, is_told=True), Traffic(request.param, is_told=False)
    for traffic in made:
        traffic.run(200)
    return made


def test_requests_go_where_their_beginning_is(runs: tuple[Traffic, Traffic]) -> None:
    """With more beginnings than fit into one replica, each replica comes to have its own."""
    told, untold = runs
    if told.num_prefixes == 1:
        assert told.hit_rate > 0.95
    else:
        assert told.hit_rate > 0.6 > 1.5 * untold.hit_rate


def test_no_replica_is_overloaded_for_what_it_has(runs: tuple[Traffic, Traffic]) -> None:
    """A beginning is worth an eighth of the credit in load; that sequences end unevenly comes on top."""
    told, _ = runs
    assert told.largest_gap < 0.25
