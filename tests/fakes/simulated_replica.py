"""A worker without a server: it takes what the gateway's link has to say, and keeps the worker's own books."""

from dataclasses import dataclass, field

from google.rpc import code_pb2

from fakes.clock import FakeClock
from fakes.gateway_deployment import SPEC
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_gateway.dispatch.replica_link import ReplicaLink
from penstock_gateway.dispatch.session_health import SessionHealth

BLOCK_SIZE = 16
NUM_SEQUENCES = 3
PREFILL_TOKENS = 120
NUM_BLOCKS = 1000


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
    prefixes: "SimulatedPrefixes | None" = None

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

    def expire(self) -> None:
        """Ends what is overdue by the deadline that it was submitted with."""
        for sequence_id, attempt in list(self.running):
            if self.link._placed[sequence_id].deadline.has_passed:
                del self.running[sequence_id, attempt]
                error = types_pb2.Error(code=code_pb2.DEADLINE_EXCEEDED, message="the deadline passed")
                self._end(sequence_id, attempt, types_pb2.FINISH_REASON_ERROR, error)

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
        if self.prefixes is not None:
            for group in submit.groups:
                self._send(prefix_events=self.prefixes.compute(group))

    def _end(
        self,
        sequence_id: int,
        attempt: int,
        reason: "types_pb2.FinishReason.ValueType",
        error: types_pb2.Error | None = None,
    ) -> None:
        end = worker_pb2.SequenceEnd(reason=reason, error=error)
        output = worker_pb2.SequenceOutput(sequence_id=sequence_id, attempt=attempt, end=end)
        self._send(step=worker_pb2.Step(outputs=[output]))

    def _send(self, **message: object) -> None:
        self.seq += 1
        self.link.take(worker_pb2.SessionResponse(seq=self.seq, **message))  # type: ignore[arg-type]


@dataclass(eq=False)
class SimulatedPrefixes:
    """The prefix cache of a worker: whole prompts, the one used least recently forgotten first."""

    max_prompts: int
    num_query_tokens: int = 0
    num_found_tokens: int = 0
    num_events: int = 0
    prompts: dict[bytes, list[bytes]] = field(default_factory=dict)

    def compute(self, group: worker_pb2.SequenceGroup) -> worker_pb2.PrefixEvents:
        """Finds or computes a group's prompt; what has changed by it."""
        hashes = PromptNames(group.prompt_token_ids, group.cache_salt).hashes(SPEC.revision, BLOCK_SIZE)
        known = self.prompts.pop(hashes[-1], None)
        self.prompts[hashes[-1]] = list(hashes)
        self.num_query_tokens += len(group.prompt_token_ids)
        events = worker_pb2.PrefixEvents(first_event_number=self.num_events + 1)
        if known is not None:
            self.num_found_tokens += len(known) * BLOCK_SIZE
        else:
            events.events.extend(worker_pb2.PrefixEvent(stored_block_hash=each) for each in hashes)
        if len(self.prompts) > self.max_prompts:
            oldest = self.prompts.pop(next(iter(self.prompts)))
            events.events.extend(worker_pb2.PrefixEvent(removed_block_hash=each) for each in reversed(oldest))
        self.num_events += len(events.events)
        return events


def credit(epoch: int, num_sequences: int, prefill_tokens: int = PREFILL_TOKENS * 10) -> worker_pb2.Credit:
    """Sequences are what is scarce."""
    return worker_pb2.Credit(
        epoch=epoch, num_sequences=num_sequences, prefill_tokens=prefill_tokens, kv_blocks=NUM_BLOCKS
    )


def open_link(
    replica_id: str,
    dispatcher: Dispatcher,
    clock: FakeClock,
    granted: worker_pb2.Credit | None = None,
    *,
    chain_function: str = "",
) -> ReplicaLink:
    """The gateway's end of a new session."""
    hello = worker_pb2.Hello(
        replica_id=replica_id,
        model=SPEC.name,
        revision=SPEC.revision,
        numerics_fingerprint="fp32",
        limits=worker_pb2.Limits(context_length=1024, block_size=BLOCK_SIZE, num_kv_blocks=NUM_BLOCKS),
        prefix_index=worker_pb2.PrefixIndexSnapshot(chain_function=chain_function, block_size=BLOCK_SIZE),
        credit=granted or credit(1, NUM_SEQUENCES),
    )
    return ReplicaLink(
        hello,
        owner=dispatcher,
        health=SessionHealth(clock, check_interval_s=1),
        notify_writer=lambda: None,
    )
