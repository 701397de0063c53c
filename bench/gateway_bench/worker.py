"""A replica that computes nothing: each step gives every sequence one token, which says when it was made."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc
from gateway_bench.stamps import stamp_now

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc

TOKENIZER_FINGERPRINT = "stamps"
MAX_SEQUENCES = 256
_HEARTBEAT_S = 0.5
_PLENTY = 1 << 20

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(eq=False)
class _Session:
    """What one session runs: tokens left by (sequence id, attempt)."""

    context: Context
    tokens_left: dict[tuple[int, int], int] = field(default_factory=dict)
    has_work: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_sent: int = 0

    async def send(self, **message: Any) -> None:
        """One message, numbered."""
        async with self.writing:
            self.num_sent += 1
            await self.context.write(worker_pb2.SessionResponse(seq=self.num_sent, **message))


class StubWorker(worker_pb2_grpc.WorkerServiceServicer):
    """One replica of one model.

    Args:
        model: what it says that it serves.
        pace_s: time between steps; 0: as fast as they are taken.
    """

    def __init__(self, model: str, pace_s: float) -> None:
        self._model = model
        self._pace_s = pace_s

    async def Session(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _requests: object, context: Context
    ) -> None:
        """The contract of `worker.v1`, as far as a gateway needs it."""
        await context.read()
        session = _Session(context)
        await session.send(hello=self._hello())
        async with asyncio.TaskGroup() as tasks:
            for run in (self._read, self._step, self._beat):
                tasks.create_task(run(session))

    async def _read(self, session: _Session) -> None:
        while (request := await session.context.read()) is not grpc.aio.EOF:
            for group in request.submit.groups:
                for choice in group.choices:
                    session.tokens_left[choice.sequence_id, group.attempt] = group.sampling.max_tokens
            for ref in request.cancel.sequences:
                if session.tokens_left.pop((ref.sequence_id, ref.attempt), None) is not None:
                    output = worker_pb2.SequenceOutput(sequence_id=ref.sequence_id, attempt=ref.attempt)
                    output.end.reason = types_pb2.FINISH_REASON_CANCELLED
                    await session.send(step=worker_pb2.Step(outputs=[output]))
            session.has_work.set()
        raise ConnectionError("the gateway has left")

    async def _step(self, session: _Session) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await session.has_work.wait()
            await asyncio.sleep(self._pace_s - loop.time() % self._pace_s if self._pace_s else 0)
            outputs = [self._output(session, ref) for ref in list(session.tokens_left)]
            if outputs:
                await session.send(step=worker_pb2.Step(outputs=outputs))
            else:
                session.has_work.clear()

    def _output(self, session: _Session, ref: tuple[int, int]) -> worker_pb2.SequenceOutput:
        output = worker_pb2.SequenceOutput(sequence_id=ref[0], attempt=ref[1], token_ids=[stamp_now()])
        session.tokens_left[ref] -= 1
        if session.tokens_left[ref] == 0:
            del session.tokens_left[ref]
            output.end.reason = types_pb2.FINISH_REASON_LENGTH
        return output

    async def _beat(self, session: _Session) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            await session.send(heartbeat=worker_pb2.Heartbeat(state=worker_pb2.WORKER_STATE_BUSY))

    def _hello(self) -> worker_pb2.Hello:
        return worker_pb2.Hello(
            contract_version=2,
            replica_id=self._model,
            incarnation=1,
            model=self._model,
            revision="r",
            tokenizer_fingerprint=TOKENIZER_FINGERPRINT,
            numerics_fingerprint="none",
            limits=worker_pb2.Limits(context_length=_PLENTY, block_size=16, num_kv_blocks=_PLENTY),
            credit=worker_pb2.Credit(epoch=1, num_sequences=MAX_SEQUENCES, prefill_tokens=_PLENTY, kv_blocks=_PLENTY),
        )
