"""The gateway's end of one session: what the replica has been given, and what its messages mean. No I/O."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from penstock.worker.v1 import worker_pb2
from penstock_gateway.choice import Choice
from penstock_gateway.dispatch import worker_messages
from penstock_gateway.dispatch.credit import CreditLedger
from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_gateway.dispatch.session_health import SessionHealth
from penstock_gateway.events import FinishReason
from penstock_gateway.generation import Generation, ReplicaIdentity
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import RevisionKey
from penstock_shared.errors import DeadlineExceededError, PenstockError, from_proto_error

# A worker stops overdue work by its own clock, a little before or after ours.
_CLOCK_MARGIN_S = 1.0
_ACCEPTED = worker_pb2.SUBMIT_OUTCOME_ACCEPTED
_OVER_CREDIT = worker_pb2.SUBMIT_OUTCOME_OVER_CREDIT


class SessionEndedError(Exception):
    """A session is over: expected when replicas come and go. `was_fault` where the replica, or its link, failed."""

    def __init__(self, reason: str, *, was_fault: bool = True) -> None:
        super().__init__(reason)
        self.was_fault = was_fault


class LinkOwner(Protocol):
    """Whoever places work; told what a link's messages change."""

    def wake(self) -> None:
        """There may be room for waiting work."""

    def requeue(self, generation: Generation, choices: Sequence[Choice]) -> None:
        """Choices came back without the replica being at fault, and wait again."""


@dataclass(frozen=True, slots=True)
class _Placed:
    generation: Generation
    choice: Choice
    attempt: int
    deadline: Deadline

    @property
    def has_more_time(self) -> bool:
        """Whether somebody with a later deadline has joined since; the worker was told of the earlier one only."""
        return self.generation.job.deadline.at_monotonic_s > self.deadline.at_monotonic_s


class ReplicaLink:
    """One open session.

    Args:
        hello: the worker's first message.
        owner: who places work here.
        health: judges the replica's progress.
        notify_writer: there is something in the outbox.
    """

    def __init__(
        self, hello: worker_pb2.Hello, *, owner: LinkOwner, health: SessionHealth, notify_writer: Callable[[], None]
    ) -> None:
        self.identity = ReplicaIdentity(hello.replica_id, hello.revision, hello.numerics_fingerprint)
        self.model = hello.model
        self.ledger = CreditLedger(worker_messages.credit_of(hello.credit), hello.limits.block_size)
        self.health = health
        self.num_dispatched = 0
        self.is_draining = False
        self.is_wanted = True
        self.max_sequence_tokens = min(
            hello.limits.context_length, hello.limits.num_kv_blocks * hello.limits.block_size
        )
        self._owner = owner
        self._notify_writer = notify_writer
        self._placed: dict[int, _Placed] = {}
        self._submits: list[tuple[int, worker_pb2.SequenceGroup]] = []  # with the credit epoch they were spent under
        self._cancels: list[tuple[int, int]] = []
        self._prefixes = worker_messages.prefix_map_of(hello)
        self._wants_prefix_index = False
        self._demand = (0, 0)
        self._demand_to_report: tuple[int, int] | None = None
        self._last_seq = 1

    def __repr__(self) -> str:
        return f"ReplicaLink({self.replica_id}, {self.ledger!r}, is_draining={self.is_draining})"

    @property
    def replica_id(self) -> str:
        """Its name in the directory."""
        return self.identity.replica_id

    @property
    def revision_key(self) -> RevisionKey:
        """What it serves."""
        return self.model, self.identity.revision

    @property
    def takes_work(self) -> bool:
        """Whether the directory and the replica itself are for it."""
        return self.is_wanted and not self.is_draining and self.health.is_trusted

    @property
    def num_cached_blocks(self) -> int:
        """Blocks that the replica can find again, as far as it has told."""
        return len(self._prefixes)

    def num_found_tokens(self, prompt: PromptNames) -> int:
        """How many of a prompt's first tokens the replica has computed already, as far as it has told."""
        return self._prefixes.num_found_tokens(prompt)

    def submit(self, generation: Generation, choices: Sequence[Choice], attempt: int) -> None:
        """Spends credit on choices and puts them into the next message."""
        for choice in choices:
            num_tokens = len(generation.job.prompt_token_ids) + len(choice.output_token_ids)
            self.ledger.spend(choice.sequence_id, num_tokens)
            self._placed[choice.sequence_id] = _Placed(generation, choice, attempt, generation.job.deadline)
        self.num_dispatched += len(choices)
        group = worker_messages.sequence_group(
            generation.job, choices, attempt, num_prompt_logprobs=generation.num_prompt_logprobs
        )
        self._submits.append((self.ledger.credit.epoch, group))
        self._notify_writer()

    def cancel(self, sequence_id: int, attempt: int) -> None:
        """Asks the worker to stop a sequence. Its credit comes back with its terminal output."""
        self._cancels.append((sequence_id, attempt))
        self._notify_writer()

    def report_demand(self, num_sequences: int, prefill_tokens: int) -> None:
        """Tells the worker what waits, where that has changed."""
        demand = (num_sequences, prefill_tokens)
        if demand != self._demand:
            self._demand = self._demand_to_report = demand
            self._notify_writer()

    def take_outbox(self) -> list[worker_pb2.SessionRequest]:
        """All that is to be written now: everything submitted since the last time leaves together."""
        messages: list[worker_pb2.SessionRequest] = []
        for epoch, submits in itertools.groupby(self._submits, key=itemgetter(0)):
            messages += worker_messages.submit_messages([group for _, group in submits], epoch)
        self._submits = []
        if self._cancels:
            messages.append(worker_messages.cancel_message(self._cancels))
            self._cancels = []
        if self._demand_to_report is not None:
            messages.append(worker_messages.demand_message(*self._demand_to_report))
            self._demand_to_report = None
        if self._wants_prefix_index:
            messages.append(worker_messages.resend_prefix_index_message())
            self._wants_prefix_index = False
        return messages

    def take(self, message: worker_pb2.SessionResponse) -> None:
        """Acts on a message from the worker.

        Raises:
            SessionEndedError: the messages have a gap.
        """
        if message.seq != self._last_seq + 1:
            raise SessionEndedError(f"protocol broken: message {message.seq} follows {self._last_seq}")
        self._last_seq = message.seq
        self.health.hear()
        kind = message.WhichOneof("message")
        if kind == "step":
            self._take_step(message.step)
        elif kind == "heartbeat":
            self._take_heartbeat(message.heartbeat)
        elif kind == "credit":
            self.ledger.grant(worker_messages.credit_of(message.credit))
            self._owner.wake()
        elif kind == "submit_ack":
            self._take_ack(message.submit_ack)
        elif kind == "prefix_events":
            self._take_prefix_events(message.prefix_events)
        elif kind == "prefix_index":
            worker_messages.take_prefix_snapshot(self._prefixes, message.prefix_index)
        elif kind == "draining":
            self.is_draining = True

    def take_placed(self) -> dict[Generation, list[Choice]]:
        """Everything that was running here, when the session has ended; for its owner to place elsewhere."""
        lost: dict[Generation, list[Choice]] = {}
        for placed in self._placed.values():
            if not placed.generation.is_over and not placed.choice.is_finished:
                lost.setdefault(placed.generation, []).append(placed.choice)
        self._placed.clear()
        return lost

    def _take_step(self, step: worker_pb2.Step) -> None:
        is_freed = False
        for output in step.outputs:
            is_freed |= self._take_output(output)
        if is_freed:
            self._owner.wake()

    def _take_output(self, output: worker_pb2.SequenceOutput) -> bool:
        """One sequence's share of a step. True where credit came back."""
        placed = self._current(output.sequence_id, output.attempt)
        if placed is None:
            return False
        is_freed = False
        if output.prompt_logprobs and not placed.generation.is_over:
            placed.generation.take_prompt_logprobs(worker_messages.logprobs_of(output.prompt_logprobs))
        if output.embedding and not placed.generation.is_over:
            placed.generation.take_embedding(output.embedding[:])
        if output.token_ids:
            is_freed = self.ledger.end_prefill(output.sequence_id)
            self._deliver(placed, output)
        if output.HasField("end"):
            self._release(output.sequence_id)
            self._end(placed, output.end)
            is_freed = True
        return is_freed

    def _deliver(self, placed: _Placed, output: worker_pb2.SequenceOutput) -> None:
        generation, choice = placed.generation, placed.choice
        if generation.is_over or choice.is_finished:
            return
        logprobs = worker_messages.logprobs_of(output.logprobs) if output.logprobs else ()
        has_stopped = generation.take_output(choice, output.token_ids[:], logprobs)  # a plain list, cheap to read
        if has_stopped and not output.HasField("end"):
            self.cancel(choice.sequence_id, placed.attempt)

    def _end(self, placed: _Placed, end: worker_pb2.SequenceEnd) -> None:
        generation, choice = placed.generation, placed.choice
        if generation.is_over or choice.is_finished:
            return
        reason = FinishReason(end.reason)
        if reason is FinishReason.ERROR:
            self._fail(placed, from_proto_error(end.error))
        elif reason is FinishReason.CANCELLED:
            self._end_uncalled_for(generation, choice)
        else:
            generation.count_drafts(end.num_drafted_tokens, end.num_accepted_tokens)
            stop_token_id = end.stop_token_id if end.HasField("stop_token_id") else None
            generation.end_choice(
                choice, reason, stop_token_id=stop_token_id, cached_prompt_tokens=end.cached_prompt_tokens
            )

    def _fail(self, placed: _Placed, error: PenstockError) -> None:
        """The worker reports an error. A deadline that is not the last one any more is none: the work goes on."""
        if error.code is DeadlineExceededError.code and placed.has_more_time:
            placed.generation.resume(was_death=False)
            self._owner.requeue(placed.generation, [placed.choice])
        else:
            placed.generation.fail(error)

    def _end_uncalled_for(self, generation: Generation, choice: Choice) -> None:
        """The worker cancelled a sequence by itself: it is overdue, or the worker wants to be rid of it."""
        if generation.job.deadline.remaining_s() < _CLOCK_MARGIN_S:
            generation.fail(DeadlineExceededError("the deadline passed while the model was generating"))
        else:
            generation.resume(was_death=False)
            self._owner.requeue(generation, [choice])

    def _take_ack(self, ack: worker_pb2.SubmitAck) -> None:
        for result in ack.results:
            placed = self._current(result.sequence.sequence_id, result.sequence.attempt)
            if placed is None or result.outcome == _ACCEPTED:
                continue
            self._release(result.sequence.sequence_id)
            if result.outcome == _OVER_CREDIT and not placed.generation.is_over:
                self._owner.requeue(placed.generation, [placed.choice])
            else:
                self._fail(placed, from_proto_error(result.error))
        self._owner.wake()

    def _take_heartbeat(self, heartbeat: worker_pb2.Heartbeat) -> None:
        was_trusted = self.health.is_trusted
        has_age = heartbeat.HasField("step_age")
        self.health.beat(
            is_loading=heartbeat.state == worker_pb2.WORKER_STATE_LOADING,
            step_age_s=worker_messages.seconds_of(heartbeat.step_age) if has_age else None,
            predicted_s=worker_messages.seconds_of(heartbeat.predicted_step),
        )
        if self.health.is_trusted and not was_trusted:
            self._owner.wake()

    def _take_prefix_events(self, events: worker_pb2.PrefixEvents) -> None:
        if not self._prefixes.take_changes(events.first_event_number, worker_messages.prefix_changes_of(events)):
            self._wants_prefix_index = True
            self._notify_writer()

    def _current(self, sequence_id: int, attempt: int) -> _Placed | None:
        """The placement that an event is about; None for one of an old attempt."""
        placed = self._placed.get(sequence_id)
        return placed if placed is not None and placed.attempt == attempt else None

    def _release(self, sequence_id: int) -> None:
        """The worker has nothing of a sequence any more."""
        self.ledger.release(sequence_id)
        self._placed.pop(sequence_id).choice.placement = None
