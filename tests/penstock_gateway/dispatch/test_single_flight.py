"""Random histories of requests that share answers, on the decision parts alone; a few of them written down."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fakes.clock import FakeClock
from fakes.generations import VOCABULARY, follower, job
from fakes.simulated_replica import SimulatedReplica, expected_output, open_link
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.single_flight import SingleFlight
from penstock_gateway.events import Delta, Event, Finished, Started
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation
from penstock_gateway.requests import Criticality
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import DeadlineExceededError, InternalError, PenstockError

NUM_CHOICES = 2


@dataclass(eq=False)
class Asked:
    """A request under way."""

    key: bytes
    generation: Generation
    follower: Follower

    @property
    def is_over(self) -> bool:
        """Whether its client has been told of an end."""
        return self.follower.buffer._is_closed


class SharedAnswers:
    """A single flight, its dispatcher and one replica; no I/O."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pending: list[Callable[[], None]] = []
        self.dispatcher = Dispatcher(clock=self.clock, call_soon=self.pending.append, longest_wait_s=1e9)
        self.flights = SingleFlight(self.dispatcher)
        self.asked: list[Asked] = []
        self.sequence_ids = itertools.count(1)
        self.num_asked = 0
        self.replica = self.open_replica()

    def open_replica(self) -> SimulatedReplica:
        """A session opens."""
        link = open_link("replica", self.dispatcher, self.clock)
        self.dispatcher.add_link(link)
        return SimulatedReplica(link)

    def lose_replica(self) -> None:
        """The session ends, and another opens."""
        self.dispatcher.remove_link(self.replica.link, was_fault=False)
        self.replica = self.open_replica()

    def ask(
        self,
        key: bytes = b"k",
        *,
        criticality: Criticality = Criticality.STANDARD,
        patience_s: float = 60,
        is_returning_token_ids: bool = True,
    ) -> Asked:
        """A request arrives, and joins or begins."""
        self.num_asked += 1
        name, deadline = f"r{self.num_asked}", Deadline.after(patience_s, self.clock)
        begun = self.flights.find(key)
        made = begun.job if begun else job(name, num_choices=NUM_CHOICES, criticality=criticality, deadline=deadline)
        own = follower(
            made,
            request_id=name,
            criticality=criticality,
            deadline=deadline,
            is_returning_token_ids=is_returning_token_ids,
        )
        generation = begun or Generation(made, vocabulary=VOCABULARY, new_sequence_id=lambda: next(self.sequence_ids))
        if begun:
            self.flights.join(generation, own)
        else:
            self.flights.begin(key, generation, own)
        asked = Asked(key, generation, own)
        self.asked.append(asked)
        return asked

    def leave(self, asked: Asked) -> None:
        """It is answered, or its client went away."""
        self.asked.remove(asked)
        self.flights.leave(asked.key, asked.generation, asked.follower)

    def settle(self) -> None:
        """Everything that can happen without new events happens."""
        link = self.replica.link
        while self.pending or link._submits or link._cancels:
            for callback in [self.pending.pop() for _ in range(len(self.pending))]:
                callback()
            self.replica.exchange()

    def step(self, count: int = 1) -> None:
        """Some tokens for all that runs."""
        self.settle()
        for _ in range(count):
            self.replica.step()

    def finish(self) -> None:
        """Everybody has the whole answer, and goes."""
        self.replica.grant(8)
        for _ in range(1000):
            if all(asked.is_over for asked in self.asked):
                break
            self.step()
        assert all(asked.is_over for asked in self.asked)
        for asked in list(self.asked):
            self.leave(asked)
        self.settle()


def told(asked: Asked) -> tuple[list[Event], PenstockError | None]:
    """All that a closed buffer holds, and the error at its end."""

    async def read() -> tuple[list[Event], PenstockError | None]:
        events: list[Event] = []
        try:
            while found := await asked.follower.buffer.next_events():
                events += found
        except PenstockError as error:
            return events, error
        return events, None

    return asyncio.run(read())


def check_whole(asked: Asked) -> None:
    """One start under its own name, every token once, in its own form, one end a choice."""
    events, error = told(asked)
    assert error is None
    started, rest = events[0], events[1:]
    assert isinstance(started, Started)
    assert started.request_id == asked.follower.request_id
    for choice in range(NUM_CHOICES):
        whole = expected_output(asked.generation.job.request_id, choice)
        deltas = [event for event in rest if isinstance(event, Delta) and event.choice == choice]
        assert "".join(delta.text for delta in deltas).encode() == whole
        ids = b"".join(bytes(delta.token_ids) for delta in deltas)
        assert ids == (whole if asked.follower.is_returning_token_ids else b"")
    ends = [event.choice for event in rest if isinstance(event, Finished)]
    assert sorted(ends) == list(range(NUM_CHOICES))
    assert isinstance(rest[-1], Finished)


def test_one_generation_answers_all_who_ask_for_the_same() -> None:
    """However late they come; and another answer is another generation."""
    shared = SharedAnswers()
    first, other = shared.ask(), shared.ask(b"other")
    shared.step(3)
    late = shared.ask(is_returning_token_ids=False)
    shared.step(3)
    latest = shared.ask()
    assert first.generation is late.generation is latest.generation is not other.generation
    asked = list(shared.asked)
    shared.finish()
    for each in asked:
        check_whole(each)
    assert next(shared.sequence_ids) == 2 * NUM_CHOICES + 1


def test_a_generation_runs_as_its_most_urgent_follower_needs() -> None:
    """In the queue a join makes it more urgent, and a leave less; the order shows it."""
    shared = SharedAnswers()
    shared.replica.grant(0)
    shared.ask(b"other", patience_s=10)
    bulk = shared.ask(criticality=Criticality.SHEDDABLE, patience_s=20)
    queue = shared.dispatcher.queues[bulk.generation.job.spec.key]
    urgent = shared.ask(criticality=Criticality.CRITICAL, patience_s=5)
    assert queue.peek() is bulk.generation
    assert (bulk.generation.job.criticality, bulk.generation.job.deadline) == (
        Criticality.CRITICAL,
        bulk.follower.deadline,
    )
    shared.leave(urgent)
    assert queue.peek() is not bulk.generation
    assert bulk.generation.job.criticality == Criticality.SHEDDABLE


def test_a_later_deadline_goes_on_where_the_worker_stops_at_the_first() -> None:
    """The worker was told of the first one only, and the contract has no word to change it: a new attempt has."""
    shared = SharedAnswers()
    first = shared.ask(patience_s=5)
    shared.step(2)
    second = shared.ask(patience_s=5.5)
    shared.clock.advance(5.1)
    shared.leave(first)
    shared.replica.expire()
    assert not second.is_over
    shared.finish()
    check_whole(second)
    assert second.generation.num_resumed == NUM_CHOICES


def test_a_deadline_that_is_the_last_one_is_the_end() -> None:
    """Nobody has more time."""
    shared = SharedAnswers()
    only = shared.ask(patience_s=5)
    shared.step()
    shared.clock.advance(5.1)
    shared.replica.expire()
    _, error = told(only)
    assert error is not None
    assert error.code is DeadlineExceededError.code


def test_a_failure_ends_every_follower_with_the_one_error() -> None:
    """After what came before it; the next who asks begins anew."""
    shared = SharedAnswers()
    first = shared.ask()
    shared.step(2)
    second = shared.ask()
    error = InternalError("sampling failed")
    first.generation.fail(error)
    for asked in (first, second):
        events, found = told(asked)
        assert ([type(event).__name__ for event in events], found) == (["Started", "Delta", "Delta"], error)
    assert shared.ask().generation is not first.generation


def test_whoever_follows_an_ended_generation_does_not_end_the_next() -> None:
    """A slow reader of the first answer leaves when the second is under way."""
    shared = SharedAnswers()
    first = shared.ask()
    shared.step(30)
    assert first.is_over
    second = shared.ask()
    shared.leave(first)
    assert shared.flights.find(b"k") is second.generation


def test_without_a_key_nothing_is_shared() -> None:
    """A sampled answer is its request's alone."""
    shared = SharedAnswers()
    made = job()
    generation = Generation(made, vocabulary=VOCABULARY, new_sequence_id=lambda: 1)
    own = follower(made)
    shared.flights.begin(None, generation, own)
    assert (shared.flights.find(None), list(shared.flights.generations)) == (None, [])
    assert shared.flights.leave(None, generation, own)
    assert generation.is_over


class Histories(RuleBasedStateMachine):
    """Joins, leaves, deadlines, credit, failures and lost sessions in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = SharedAnswers()
        self.answered: list[Asked] = []

    @rule(
        key=st.sampled_from([b"x", b"y", b"z"]),
        criticality=st.sampled_from(Criticality),
        patience_s=st.floats(1, 20),
        shows_ids=st.booleans(),
    )
    def ask(self, key: bytes, criticality: Criticality, patience_s: float, shows_ids: bool) -> None:
        """A request."""
        self.shared.ask(key, criticality=criticality, patience_s=patience_s, is_returning_token_ids=shows_ids)

    @precondition(lambda self: self.shared.asked)
    @rule(chance=st.randoms())
    def cancel(self, chance: Any) -> None:
        """A client goes away."""
        self.shared.leave(chance.choice(self.shared.asked))

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        """The replica goes on."""
        self.shared.step(count)

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        """The worker and the gateway see the deadlines that pass, the worker first; nobody is ended before its own."""
        self.shared.settle()
        self.shared.clock.advance(seconds)
        self.shared.replica.expire()
        for asked in list(self.shared.asked):
            if asked.follower.deadline.has_passed:
                self.shared.leave(asked)
            else:
                self.check_no_error(asked)

    @rule(num_sequences=st.integers(0, 4))
    def grant(self, num_sequences: int) -> None:
        """More credit, or less."""
        self.shared.replica.grant(num_sequences)

    @rule()
    def lose_replica(self) -> None:
        """What ran there goes on elsewhere."""
        self.shared.lose_replica()

    @precondition(lambda self: self.shared.asked)
    @rule(chance=st.randoms())
    def fail(self, chance: Any) -> None:
        """An error of the shared work is everybody's."""
        generation = chance.choice(self.shared.asked).generation
        if not generation.is_over:
            followers = list(generation.followers)
            generation.fail(InternalError("broken"))
            for asked in [each for each in self.shared.asked if each.follower in followers]:
                assert asked.is_over
                self.shared.leave(asked)

    @invariant()
    def sound(self) -> None:
        """Whoever has an answer has all of it; nothing is queued or runs for nobody."""
        self.shared.settle()
        for asked in [each for each in self.shared.asked if each.is_over]:
            self.shared.leave(asked)
            check_whole(asked)
        self.shared.settle()
        self.shared.flights.check_invariants()
        self.shared.dispatcher.check_invariants()
        wanted = {id(asked.generation) for asked in self.shared.asked}
        for sequence_id, _ in self.shared.replica.running:
            assert id(self.shared.replica.link._placed[sequence_id].generation) in wanted
        for queue in self.shared.dispatcher.queues.values():
            assert {id(generation) for generation in queue.items()} <= wanted

    def teardown(self) -> None:
        """In the end everybody has an answer, and nothing is left."""
        asked = list(self.shared.asked)
        self.shared.finish()
        for each in asked:
            check_whole(each)
        assert (list(self.shared.flights.generations), self.shared.replica.running) == ([], {})
        assert all(len(queue) == 0 for queue in self.shared.dispatcher.queues.values())

    @staticmethod
    def check_no_error(asked: Asked) -> None:
        """Its buffer was not closed with an error."""
        assert asked.follower.buffer._error is None, asked.follower.buffer._error


Histories.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestHistories = Histories.TestCase


@pytest.mark.parametrize("num_leaves", range(3))
def test_work_stops_when_the_last_has_left_and_not_before(num_leaves: int) -> None:
    """The one who began it is no more than the others."""
    shared = SharedAnswers()
    asked = [shared.ask() for _ in range(3)]
    shared.step(2)
    for each in asked[: num_leaves + 1]:
        shared.leave(each)
    shared.settle()
    assert len(shared.replica.running) == (0 if num_leaves == 2 else NUM_CHOICES)
