"""Random histories of requests, steps, credit, cancels and deaths, on the decision parts alone.

The replicas here keep the worker's own books: overspent credit or a lost, repeated or misplaced token fails the run.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fakes.clock import FakeClock
from fakes.gateway_deployment import SPEC

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.dispatcher import Dispatcher
from penstock_gateway.events import CacheOutcome, CacheReport, Delta
from penstock_gateway.generation import Generation, Job
from penstock_gateway.replica_link import ReplicaLink
from penstock_gateway.requests import Criticality, SamplingRequest
from penstock_gateway.sampling import resolve_sampling
from penstock_gateway.session_health import SessionHealth
from penstock_gateway.timeline import Timeline
from penstock_gateway.vocabulary import Vocabulary
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import PenstockError
from penstock_shared.tracing import TraceContext

VOCABULARY = Vocabulary("f", tuple(bytes([value]) for value in range(256)))
BLOCK_SIZE = 16
NUM_SEQUENCES = 3
PREFILL_TOKENS = 120


def expected_output(request_id: str, choice: int) -> bytes:
    """What a choice says, wherever it is generated."""
    return f"{request_id}/{choice} says hello".encode()


@dataclass(eq=False)
class SimulatedReplica:
    """A worker that checks its session's spending and generates a token of each sequence a step."""

    link: ReplicaLink
    num_sequences: int = NUM_SEQUENCES
    epoch: int = 1
    seq: int = 1
    running: dict[tuple[int, int], tuple[worker_pb2.SequenceGroup, worker_pb2.SequenceChoice, int]] = field(
        default_factory=dict
    )

    def exchange(self) -> None:
        """Takes what the gateway has to say."""
        for message in self.link.take_outbox():
            if message.HasField("submit"):
                self._take_submit(message.submit)
            for ref in message.cancel.sequences:
                if self.running.pop((ref.sequence_id, ref.attempt), None) is not None:
                    self._end(ref.sequence_id, ref.attempt, types_pb2.FINISH_REASON_CANCELLED)

    def grant(self, num_sequences: int) -> None:
        """New credit; a smaller one too."""
        self.num_sequences = num_sequences
        self.epoch += 1
        self._send(credit=credit(self.epoch, num_sequences))

    def step(self) -> None:
        """One token of each running sequence."""
        step = worker_pb2.Step()
        for key, (group, choice, position) in list(self.running.items()):
            said = expected_output(group.request_id, choice.index)
            output = step.outputs.add(sequence_id=key[0], attempt=key[1], token_ids=said[position : position + 1])
            self.running[key] = (group, choice, position + 1)
            if position + 1 == len(said):
                output.end.reason = types_pb2.FINISH_REASON_STOP
                del self.running[key]
        self._send(step=step)

    def _take_submit(self, submit: worker_pb2.Submit) -> None:
        assert submit.credit_epoch <= self.epoch, "an epoch that was never granted"
        ack = worker_pb2.SubmitAck()
        for group in submit.groups:
            for choice in group.choices:
                key = (choice.sequence_id, group.attempt)
                fits = len(self.running) < self.num_sequences
                assert fits or submit.credit_epoch < self.epoch, "overspent"
                outcome = worker_pb2.SUBMIT_OUTCOME_ACCEPTED if fits else worker_pb2.SUBMIT_OUTCOME_OVER_CREDIT
                ref = worker_pb2.SequenceRef(sequence_id=key[0], attempt=key[1])
                ack.results.add(sequence=ref, outcome=outcome)
                if fits:
                    assert key not in self.running
                    self.running[key] = (group, choice, len(choice.output_token_ids))
        self._send(submit_ack=ack)

    def _end(self, sequence_id: int, attempt: int, reason: "types_pb2.FinishReason.ValueType") -> None:
        output = worker_pb2.SequenceOutput(sequence_id=sequence_id, attempt=attempt)
        output.end.reason = reason
        self._send(step=worker_pb2.Step(outputs=[output]))

    def _send(self, **message: object) -> None:
        self.seq += 1
        self.link.take(worker_pb2.SessionResponse(seq=self.seq, **message))  # type: ignore[arg-type]


def credit(epoch: int, num_sequences: int) -> worker_pb2.Credit:
    """Sequences are what is scarce."""
    return worker_pb2.Credit(
        epoch=epoch, num_sequences=num_sequences, prefill_tokens=PREFILL_TOKENS * 10, kv_blocks=1000
    )


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
        hello = worker_pb2.Hello(
            replica_id=f"replica-{self.num_replicas}",
            model=SPEC.name,
            numerics_fingerprint="fp32",
            limits=worker_pb2.Limits(context_length=1024, block_size=BLOCK_SIZE, num_kv_blocks=1000),
            credit=credit(1, NUM_SEQUENCES),
        )
        link = ReplicaLink(
            hello,
            owner=self.dispatcher,
            health=SessionHealth(self.clock, check_interval_s=1),
            notify_writer=lambda: None,
        )
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
        sampling = resolve_sampling(
            SamplingRequest(n=num_choices),
            SPEC.sampling_defaults,
            tokens_left=100,
            max_output_tokens=100,
            draw_seed=lambda: 1,
        )
        job = Job(
            request_id=request_id,
            spec=SPEC,
            prompt_token_ids=[1] * 10,
            sampling=sampling,
            tenant=tenant,
            criticality=Criticality.STANDARD,
            deadline=Deadline(1e6, self.clock),
            trace=TraceContext(1, 1, is_sampled=False),
        )
        generation = Generation(
            job,
            vocabulary=VOCABULARY,
            buffer=buffer,
            timeline=Timeline.begin(lambda: 0, lambda: 0),
            cache=CacheReport(CacheOutcome.SKIPPED, ""),
            new_sequence_id=lambda: next(self.sequence_ids),
            is_returning_token_ids=True,
        )
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
