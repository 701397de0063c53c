"""A WorkerService replica that generates what a test wrote down, over the real protocol."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from fakes.byte_tokenizer import FINGERPRINT
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.directory import ReplicaInfo, ReplicaState
from penstock_shared.errors import InvalidArgumentError, PenstockError, UnavailableError, to_proto_error
from penstock_shared.prefix_chain import CHAIN_FUNCTION
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer

_HEARTBEAT_S = 0.2
_REVISION = "revision-1"

Context = grpc.aio.ServicerContext[Any, Any]
Ref = tuple[int, int]
# The whole output of a choice, of which the worker sends what the gateway does not have yet.
Reply = Callable[[worker_pb2.SequenceGroup, worker_pb2.SequenceChoice], Sequence[int]]


@dataclass(eq=False)
class _Session:
    outbox: asyncio.Queue[worker_pb2.SessionResponse | PenstockError] = field(default_factory=asyncio.Queue)
    num_sent: int = 0


class ScriptedWorker(worker_pb2_grpc.WorkerServiceServicer):
    """One replica.

    Args:
        replica_id: its name.
        model: what it serves.
        tokenizer_fingerprint: what it says in its hello.
        reply: answers every submitted choice by itself, one token a step; None: the test sends the steps.
        num_sequences: credit.
        incarnation: said in its hello.
        contract_version: said in its hello.
        numerics: its numerics fingerprint.
        revision: of the weights that it says it has.
        certificates: it speaks TLS with these; None: plaintext.

    Attributes:
        groups: every group that came, in order.
        submits: the messages that they came in.
        cancels: every (sequence id, attempt) that was cancelled.
        over_credit_next: how many of the next groups are answered OVER_CREDIT.
        refuse_next: refuses the next group with this message.
        pause_after: output length at which a reply stops until the session ends.
        step_age_s: told in heartbeats where it is set.
        is_beating: whether heartbeats are sent.
        skip_seq: how many numbers the next message leaves out.
        num_hellos: sessions so far.
        num_resends: how often a gateway asked for the prefix index.
    """

    def __init__(
        self,
        replica_id: str,
        *,
        model: str,
        tokenizer_fingerprint: str = FINGERPRINT,
        reply: Reply | None = None,
        num_sequences: int = 8,
        incarnation: int = 1,
        contract_version: int = 2,
        numerics: str = "fp32",
        revision: str = _REVISION,
        certificates: ReloadingCertificates | None = None,
    ) -> None:
        self.replica_id = replica_id
        self.model = model
        self.tokenizer_fingerprint = tokenizer_fingerprint
        self.reply = reply
        self.num_sequences = num_sequences
        self.incarnation = incarnation
        self.contract_version = contract_version
        self.numerics = numerics
        self.revision = revision
        self.address = ""
        self.groups: list[worker_pb2.SequenceGroup] = []
        self.submits: list[worker_pb2.Submit] = []
        self.cancels: list[Ref] = []
        self.demands: list[worker_pb2.Demand] = []
        self.over_credit_next = 0
        self.refuse_next: str | None = None
        self.pause_after: int | None = None
        self.step_age_s: float | None = None
        self.is_beating = True
        self.skip_seq = 0
        self.num_hellos = 0
        self.num_resends = 0
        self._running: set[Ref] = set()
        self._sessions: list[_Session] = []
        self._changed = asyncio.Condition()
        self._server = GrpcServer(
            bind="127.0.0.1:0", service_names=[], tracer=Tracer(replica_id), certificates=certificates
        )
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self, self._server.server)

    @property
    def info(self) -> ReplicaInfo:
        """Its entry in a directory."""
        return ReplicaInfo(
            replica_id=self.replica_id,
            model=self.model,
            state=ReplicaState.READY,
            address=self.address,
            incarnation=self.incarnation,
            revision=self.revision,
            numerics_fingerprint=self.numerics,
        )

    @property
    def num_sessions(self) -> int:
        """Open sessions."""
        return len(self._sessions)

    @property
    def num_running(self) -> int:
        """Sequences without a terminal output."""
        return len(self._running)

    async def start(self) -> None:
        """Listens; `address` is set."""
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        """The process dies."""
        await self._server.server.stop(0)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Waits until something that came makes `condition` true."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(condition)

    def break_sessions(self) -> None:
        """Ends every session with UNAVAILABLE, as a dying replica does."""
        for session in self._sessions:
            session.outbox.put_nowait(UnavailableError("shutting down"))

    def send(self, **message: Any) -> None:
        """Sends a message in every session."""
        for session in self._sessions:
            session.outbox.put_nowait(worker_pb2.SessionResponse(**message))

    def send_output(
        self, group: worker_pb2.SequenceGroup, token_ids: Sequence[int], *, choice: int = 0, end: int | None = None
    ) -> None:
        """Sends one step of one choice, with its end where `end` is a reason."""
        self.send(step=worker_pb2.Step(outputs=[self._output(group, group.choices[choice], token_ids, end)]))

    def send_embedding(self, group: worker_pb2.SequenceGroup, values: Sequence[float]) -> None:
        """Sends the vector of a group's prompt, and its end."""
        self.send(step=worker_pb2.Step(outputs=[self._embedding(group, values)]))

    async def Session(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _requests: object, context: Context
    ) -> None:
        """The contract of `worker.v1`."""
        opening = await context.read()
        assert opening.WhichOneof("message") == "open"
        session = _Session()
        session.outbox.put_nowait(worker_pb2.SessionResponse(hello=self._hello()))
        self._sessions.append(session)
        self.num_hellos += 1
        await self._notify()
        tasks = [asyncio.ensure_future(run(context, session)) for run in (self._read, self._write, self._beat)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            self._sessions.remove(session)
            self._running.clear()
            await self._notify()

    async def _read(self, context: Context, session: _Session) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            kind = request.WhichOneof("message")
            if kind == "submit":
                self._take_submit(request.submit, session)
            elif kind == "cancel":
                self._take_cancel(request.cancel, session)
            elif kind == "demand":
                self.demands.append(request.demand)
            elif kind == "resend_prefix_index":
                self.num_resends += 1
            await self._notify()

    async def _write(self, context: Context, session: _Session) -> None:
        while True:
            message = await session.outbox.get()
            if isinstance(message, PenstockError):
                raise message
            session.num_sent += 1 + self.skip_seq
            self.skip_seq = 0
            message.seq = session.num_sent
            await context.write(message)

    async def _beat(self, _context: Context, session: _Session) -> None:
        while True:
            if self.is_beating:
                session.outbox.put_nowait(worker_pb2.SessionResponse(heartbeat=self._heartbeat()))
            await asyncio.sleep(_HEARTBEAT_S)

    def _take_submit(self, submit: worker_pb2.Submit, session: _Session) -> None:
        self.submits.append(submit)
        ack = worker_pb2.SubmitAck()
        accepted = []
        for group in submit.groups:
            outcome, error = self._decide()
            for choice in group.choices:
                ref = worker_pb2.SequenceRef(sequence_id=choice.sequence_id, attempt=group.attempt)
                ack.results.add(sequence=ref, outcome=outcome, error=error)
            if outcome == worker_pb2.SUBMIT_OUTCOME_ACCEPTED:
                accepted.append(group)
                self._running.update((choice.sequence_id, group.attempt) for choice in group.choices)
        self.groups += accepted
        session.outbox.put_nowait(worker_pb2.SessionResponse(submit_ack=ack))
        for group in accepted if self.reply is not None else ():
            self._play(group, session)

    def _decide(self) -> tuple[worker_pb2.SubmitOutcome.ValueType, types_pb2.Error | None]:
        if self.over_credit_next > 0:
            self.over_credit_next -= 1
            return worker_pb2.SUBMIT_OUTCOME_OVER_CREDIT, None
        if self.refuse_next is not None:
            error = to_proto_error(InvalidArgumentError("prompt", "it", "less"))
            error.message, self.refuse_next = self.refuse_next, None
            return worker_pb2.SUBMIT_OUTCOME_REFUSED, error
        return worker_pb2.SUBMIT_OUTCOME_ACCEPTED, None

    def _take_cancel(self, cancel: worker_pb2.Cancel, session: _Session) -> None:
        for sequence in cancel.sequences:
            ref = (sequence.sequence_id, sequence.attempt)
            self.cancels.append(ref)
            if ref in self._running:
                self._running.discard(ref)
                output = worker_pb2.SequenceOutput(sequence_id=ref[0], attempt=ref[1])
                output.end.reason = types_pb2.FINISH_REASON_CANCELLED
                session.outbox.put_nowait(worker_pb2.SessionResponse(step=worker_pb2.Step(outputs=[output])))

    def _play(self, group: worker_pb2.SequenceGroup, session: _Session) -> None:
        """Sends the rest of each choice's reply, position by position, all choices in one step."""
        assert self.reply is not None
        if group.HasField("embed"):
            prompt = group.prompt_token_ids
            output = self._embedding(group, [len(prompt), sum(prompt)])
            session.outbox.put_nowait(worker_pb2.SessionResponse(step=worker_pb2.Step(outputs=[output])))
            return
        replies = {choice.index: list(self.reply(group, choice)) for choice in group.choices}
        longest = max(map(len, replies.values()))
        for position in range(longest + 1 if self.pause_after is None else self.pause_after):
            step = worker_pb2.Step(engine_step=position)
            if position == 0:
                step.outputs.extend(_prompt_scores(group))
            for choice in group.choices:
                reply = replies[choice.index]
                if len(choice.output_token_ids) <= position <= len(reply):
                    is_end = position == len(reply)
                    end = types_pb2.FINISH_REASON_STOP if is_end else None
                    step.outputs.append(self._output(group, choice, reply[position : position + 1], end))
            session.outbox.put_nowait(worker_pb2.SessionResponse(step=step))

    def _embedding(self, group: worker_pb2.SequenceGroup, values: Sequence[float]) -> worker_pb2.SequenceOutput:
        output = self._output(group, group.choices[0], (), types_pb2.FINISH_REASON_STOP)
        output.embedding.extend(values)
        return output

    def _output(
        self,
        group: worker_pb2.SequenceGroup,
        choice: worker_pb2.SequenceChoice,
        token_ids: Sequence[int],
        end: int | None,
    ) -> worker_pb2.SequenceOutput:
        output = worker_pb2.SequenceOutput(sequence_id=choice.sequence_id, attempt=group.attempt, token_ids=token_ids)
        if group.sampling.HasField("logprobs"):
            output.logprobs.extend(types_pb2.TokenLogprobs(token_id=token, logprob=-0.5) for token in token_ids)
        if end is not None:
            output.end.reason = types_pb2.FinishReason.ValueType(end)
            self._running.discard((choice.sequence_id, group.attempt))
        return output

    def _hello(self) -> worker_pb2.Hello:
        return worker_pb2.Hello(
            contract_version=self.contract_version,
            replica_id=self.replica_id,
            incarnation=self.incarnation,
            model=self.model,
            revision=self.revision,
            tokenizer_fingerprint=self.tokenizer_fingerprint,
            numerics_fingerprint=self.numerics,
            limits=worker_pb2.Limits(
                max_running_sequences=self.num_sequences,
                max_step_tokens=2048,
                context_length=1024,
                block_size=16,
                num_kv_blocks=1024,
            ),
            prefix_index=worker_pb2.PrefixIndexSnapshot(chain_function=CHAIN_FUNCTION, block_size=16),
            credit=self.credit(epoch=1),
        )

    def credit(self, *, epoch: int) -> worker_pb2.Credit:
        """The credit that it grants."""
        return worker_pb2.Credit(epoch=epoch, num_sequences=self.num_sequences, prefill_tokens=4096, kv_blocks=1024)

    def _heartbeat(self) -> worker_pb2.Heartbeat:
        state = worker_pb2.WORKER_STATE_BUSY if self._running else worker_pb2.WORKER_STATE_IDLE
        beat = worker_pb2.Heartbeat(num_running=len(self._running), state=state)
        if self.step_age_s is not None:
            beat.step_age.FromNanoseconds(int(self.step_age_s * 1e9))
        return beat

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _prompt_scores(group: worker_pb2.SequenceGroup) -> Iterator[worker_pb2.SequenceOutput]:
    """What the choices that score the prompt still have to say of it."""
    for choice in group.choices:
        if group.sampling.HasField("prompt_logprobs") and choice.HasField("prompt_logprob_offset"):
            unscored = group.prompt_token_ids[choice.prompt_logprob_offset :]
            scores = [types_pb2.TokenLogprobs(token_id=token_id, logprob=-0.5) for token_id in unscored]
            yield worker_pb2.SequenceOutput(
                sequence_id=choice.sequence_id, attempt=group.attempt, prompt_logprobs=scores
            )
