"""What is asked of the servers, and what is measured meanwhile. Clients parse only what they need at once."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from gateway_bench.echo import SERVICE, STAMP
from gateway_bench.processes import Peer
from gateway_bench.stamps import age_ms
from gateway_bench.worker import TOKENIZER_FINGERPRINT

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc

NUM_STREAMS = 64
PACE_S = 0.02
NUM_PACED_TOKENS = 150
NUM_FULL_TOKENS = 300
NUM_LANES = 32
NUM_SHORT_TOKENS = 8
UNARY_S = 2.0
# What belongs to the start of the streams and not to their going on.
_NUM_WARM_UP_TOKENS = 10

_numbers = itertools.count()
Messages = list[bytes]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load came to.

    Attributes:
        count: requests, messages or tokens.
        elapsed_s: by the wall clock.
        cpu_s: of the process under test.
    """

    count: int
    elapsed_s: float
    cpu_s: float

    @property
    def cpu_us_each(self) -> float:
        """CPU of the process for each, in microseconds."""
        return self.cpu_s / self.count * 1e6

    @property
    def per_s(self) -> float:
        """How many a second by the wall clock; on a shared machine as much the neighbours' figure as the server's."""
        return self.count / self.elapsed_s

    @property
    def per_cpu_s(self) -> float:
        """How many in a second of the process's own time: what a process does that has a core to itself."""
        return self.count / self.cpu_s


@dataclass(frozen=True, slots=True)
class Paced:
    """Latencies of paced tokens in milliseconds, and what they cost the process under test; None: not counted."""

    latencies_ms: list[float]
    cost: Cost | None = None


async def measured(peer: Peer, load: Callable[[], Awaitable[int]]) -> Cost:
    """Runs a load that returns its count."""
    begin_s, cpu_begin_s = time.perf_counter(), peer.cpu_s()
    count = await load()
    return Cost(count, time.perf_counter() - begin_s, peer.cpu_s() - cpu_begin_s)


async def unary(peer: Peer, ask: Callable[[], Awaitable[Any]]) -> Cost:
    """Requests by several callers at once, each one after the other, for a while."""
    end_s = time.perf_counter() + UNARY_S

    async def lane() -> int:
        count = 0
        while time.perf_counter() < end_s:
            await ask()
            count += 1
        return count

    async def lanes() -> int:
        return sum(await asyncio.gather(*(lane() for _ in range(NUM_LANES))))

    return await measured(peer, lanes)


async def echo_unary(peer: Peer) -> Cost:
    """The floor of a unary request."""
    async with grpc.aio.insecure_channel(peer.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        return await unary(peer, lambda: call(bytes(64)))


async def hops_unary(peer: Peer) -> Cost:
    """The floor of a unary request with the calls that it comes to."""
    async with grpc.aio.insecure_channel(peer.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Hops")
        return await unary(peer, lambda: call(bytes(64)))


async def gateway_unary(peer: Peer) -> Cost:
    """Short answers, each to another prompt: a lookup that misses, a tokenizer call, eight steps, a put."""
    async with grpc.aio.insecure_channel(peer.address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)

        async def ask() -> None:
            request = asked("short", NUM_SHORT_TOKENS)
            await stub.Complete(inference_pb2.CompleteRequest(request=request), timeout=60)

        return await unary(peer, ask)


def asked(model: str, num_tokens: int) -> inference_pb2.GenerationRequest:
    """A request like no other, so that none is answered from the cache or shared."""
    return inference_pb2.GenerationRequest(
        model=model,
        input=inference_pb2.Input(text=f"Question {next(_numbers)}: what is the capital of France?"),
        sampling=types_pb2.SamplingParams(max_tokens=num_tokens),
        return_token_ids=True,
    )


async def echo_messages(peer: Peer) -> Cost:
    """The floor of a message at full speed."""
    async with grpc.aio.insecure_channel(peer.address) as channel:
        return await measured(
            peer, lambda: _count_messages([_echo_stream(channel, NUM_FULL_TOKENS, 0.0)] * NUM_STREAMS)
        )


async def gateway_messages(peer: Peer) -> tuple[Cost, int]:
    """Streams of a replica that never waits. Returns also the number of tokens: a message may have several."""
    async with grpc.aio.insecure_channel(peer.address) as channel:
        received: Messages = []

        async def streams() -> int:
            calls = [_gateway_stream(channel, "fast", NUM_FULL_TOKENS) for _ in range(NUM_STREAMS)]
            for messages in await asyncio.gather(*(call() for call in calls)):
                received.extend(messages)
            return len(received)

        cost = await measured(peer, streams)
    return cost, sum(len(_tokens_of(message)) for message in received)


async def echo_paced(peer: Peer) -> Paced:
    """The floor of a paced token that has a message of its own."""
    latencies: list[float] = []

    def take(message: bytes) -> None:
        latencies.append(age_ms(STAMP.unpack_from(message)[0]))

    async with grpc.aio.insecure_channel(peer.address) as channel:
        call = _echo_stream(channel, NUM_PACED_TOKENS, PACE_S, take)
        cost = await measured(peer, lambda: _count_messages([call] * NUM_STREAMS))
    return Paced(latencies[_NUM_WARM_UP_TOKENS * NUM_STREAMS :], cost)


async def session_paced(worker_address: str) -> Paced:
    """The same sequences over one Session straight to the replica: all tokens of a step in one message."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(worker_address) as channel:
        call = worker_pb2_grpc.WorkerServiceStub(channel).Session()
        opening = worker_pb2.Open(contract_version=2, gateway_id="bench", tokenizer_fingerprint=TOKENIZER_FINGERPRINT)
        await call.write(worker_pb2.SessionRequest(open=opening))
        await call.read()
        await call.write(worker_pb2.SessionRequest(submit=worker_pb2.Submit(credit_epoch=1, groups=_groups())))
        num_open = NUM_STREAMS
        while num_open:
            message = await call.read()
            for output in message.step.outputs:
                latencies.extend(map(age_ms, output.token_ids))
                num_open -= output.HasField("end")
        call.cancel()
    return Paced(latencies[_NUM_WARM_UP_TOKENS * NUM_STREAMS :])


async def gateway_paced(peer: Peer) -> Paced:
    """The same sequences as streams of the gateway's clients."""
    latencies: list[float] = []

    def take(message: bytes) -> None:
        latencies.extend(map(age_ms, _tokens_of(message)))

    async with grpc.aio.insecure_channel(peer.address) as channel:

        async def streams() -> int:
            calls = [_gateway_stream(channel, "paced", NUM_PACED_TOKENS, take) for _ in range(NUM_STREAMS)]
            await asyncio.gather(*(call() for call in calls))
            return NUM_STREAMS * NUM_PACED_TOKENS

        cost = await measured(peer, streams)
    return Paced(latencies[_NUM_WARM_UP_TOKENS * NUM_STREAMS :], cost)


Read = Callable[[], Awaitable[Messages]]


async def _count_messages(calls: list[Read]) -> int:
    return sum(len(messages) for messages in await asyncio.gather(*(call() for call in calls)))


def _echo_stream(
    channel: grpc.aio.Channel, num_messages: int, pace_s: float, take: Callable[[bytes], None] | None = None
) -> Read:
    call = channel.unary_stream(f"/{SERVICE}/Stream")
    return lambda: _read(call(b"%d %f" % (num_messages, pace_s)), take)


def _gateway_stream(
    channel: grpc.aio.Channel, model: str, num_tokens: int, take: Callable[[bytes], None] | None = None
) -> Read:
    call = channel.unary_stream("/penstock.inference.v1.InferenceService/Generate")
    request = inference_pb2.GenerateRequest(request=asked(model, num_tokens)).SerializeToString()
    return lambda: _read(call(request, timeout=60), take)


async def _read(call: Any, take: Callable[[bytes], None] | None) -> Messages:
    """All messages of a stream."""
    messages: Messages = []
    while (message := await call.read()) is not grpc.aio.EOF:
        messages.append(message)
        if take is not None:
            take(message)
    code = await call.code()
    assert code is grpc.StatusCode.OK, code
    return messages


def _tokens_of(message: bytes) -> list[int]:
    return list(inference_pb2.GenerateResponse.FromString(message).delta.token_ids)


def _groups() -> list[worker_pb2.SequenceGroup]:
    sampling = types_pb2.ResolvedSampling(max_tokens=NUM_PACED_TOKENS)
    return [
        worker_pb2.SequenceGroup(
            request_id=f"r{number}",
            prompt_token_ids=range(16),
            choices=[worker_pb2.SequenceChoice(sequence_id=number)],
            attempt=1,
            sampling=sampling,
        )
        for number in range(1, NUM_STREAMS + 1)
    ]
