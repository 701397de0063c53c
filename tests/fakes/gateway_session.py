"""The gateway's end of a Session stream, as plain as can be: it counts `seq` and collects what each sequence got."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import grpc

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc

Message = worker_pb2.SessionResponse


@dataclass
class Received:
    """What one sequence got."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[types_pb2.TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[types_pb2.TokenLogprobs] = field(default_factory=list)
    embedding: list[float] = field(default_factory=list)
    end: worker_pb2.SequenceEnd | None = None


class GatewaySession:
    """A session with a replica. Reads only when told to.

    Args:
        channel: to the replica.
        metadata: shown at the call.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.call = worker_pb2_grpc.WorkerServiceStub(channel).Session(metadata=metadata)
        self.seq = 0
        self.hello = worker_pb2.Hello()
        self.credit = worker_pb2.Credit()
        self.acks: dict[int, worker_pb2.SubmitResult] = {}
        self.received: dict[int, Received] = {}

    async def open(self, fingerprint: str, *, contract_version: int = 2, gateway_id: str = "gateway-1") -> Self:
        """Introduces itself and waits for Hello."""
        opening = worker_pb2.Open(
            contract_version=contract_version, gateway_id=gateway_id, tokenizer_fingerprint=fingerprint
        )
        await self.call.write(worker_pb2.SessionRequest(open=opening))
        first = await self.read()
        assert first.WhichOneof("message") == "hello", first
        self.hello, self.credit = first.hello, first.hello.credit
        return self

    async def submit(self, *groups: worker_pb2.SequenceGroup, epoch: int | None = None) -> None:
        """Submits under the last credit, or under `epoch`."""
        epoch = self.credit.epoch if epoch is None else epoch
        await self.call.write(worker_pb2.SessionRequest(submit=worker_pb2.Submit(credit_epoch=epoch, groups=groups)))

    async def cancel(self, *sequence_ids: int, attempt: int = 1) -> None:
        """Cancels sequences."""
        refs = [worker_pb2.SequenceRef(sequence_id=sequence_id, attempt=attempt) for sequence_id in sequence_ids]
        await self.call.write(worker_pb2.SessionRequest(cancel=worker_pb2.Cancel(sequences=refs)))

    async def read(self) -> Message:
        """The next message, noted. Fails where `seq` has a gap; raises what ended the session."""
        message = await self.call.read()
        if message is grpc.aio.EOF:
            raise EOFError(await self.call.code(), await self.call.details())
        self.seq += 1
        assert message.seq == self.seq, f"seq {message.seq} after {self.seq - 1}"
        if message.WhichOneof("message") == "credit":
            assert message.credit.epoch > self.credit.epoch
            self.credit = message.credit
        for result in message.submit_ack.results:
            self.acks[result.sequence.sequence_id] = result
        for output in message.step.outputs:
            self._collect(output)
        return message

    async def read_until(self, is_wanted: Callable[[Message], bool]) -> Message:
        """Reads on to the first message for which `is_wanted` holds."""
        while not is_wanted(message := await self.read()):
            pass
        return message

    async def read_kind(self, kind: str) -> Message:
        """Reads on to the next message of a kind, named as in the proto."""
        return await self.read_until(lambda message: message.WhichOneof("message") == kind)

    async def read_ends(self, sequence_ids: Iterable[int]) -> dict[int, Received]:
        """Reads until all of them have ended."""
        wanted = set(sequence_ids)
        while not all(i in self.received and self.received[i].end for i in wanted):
            await self.read()
        return {i: self.received[i] for i in wanted}

    async def read_status(self) -> grpc.StatusCode:
        """Reads to the end; the status that the session ended with."""
        try:
            while True:
                await self.read()
        except (EOFError, grpc.aio.AioRpcError):
            return await self.call.code()

    def _collect(self, output: worker_pb2.SequenceOutput) -> None:
        received = self.received.setdefault(output.sequence_id, Received())
        assert received.end is None, f"sequence {output.sequence_id} got more after its end"
        assert not (output.prompt_logprobs and received.token_ids), "the prompt is scored after the first token"
        received.token_ids += output.token_ids
        received.logprobs += output.logprobs
        received.prompt_logprobs += output.prompt_logprobs
        received.embedding += output.embedding
        if output.HasField("end"):
            received.end = output.end


def group(
    *sequence_ids: int,
    prompt: Sequence[int] = (5, 6, 7),
    max_tokens: int = 8,
    attempt: int = 1,
    logprobs: int | None = None,
    temperature: float = 0.0,
) -> worker_pb2.SequenceGroup:
    """A group with a choice for each id; runs to `max_tokens`."""
    sampling = types_pb2.ResolvedSampling(
        temperature=temperature,
        top_p=1.0,
        repetition_penalty=1.0,
        seed=7,
        n=len(sequence_ids),
        max_tokens=max_tokens,
        logprobs=logprobs,
        ignore_eos=True,
    )
    choices = [worker_pb2.SequenceChoice(sequence_id=each, index=index) for index, each in enumerate(sequence_ids)]
    return worker_pb2.SequenceGroup(
        request_id="request-1", prompt_token_ids=prompt, choices=choices, attempt=attempt, sampling=sampling
    )
