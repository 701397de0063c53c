"""What the door for clients refuses before any request is seen, over real gRPC and raw sockets."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.gateway_deployment import StartDeployment, collect, request, text_of
from fakes.gateway_process import gateway_process
from fakes.scripted_worker import ScriptedWorker
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2

_READY = grpc.ChannelConnectivity.READY
_MIB = 1 << 20
# Preface and empty settings: an HTTP/2 client that then says no more, not even that it got a ping.
_MUTE_CLIENT = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_CALL_S = 60
_SILENCE_S = 30  # shorter than gRPC's own patience, which would end the connection as well


def _connection(address: str, *options: tuple[str, int]) -> grpc.aio.Channel:
    """A connection that no other channel of this process shares."""
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *options])


def _models(channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]] = ()) -> Any:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    return stub.ListModels(inference_pb2.ListModelsRequest(), timeout=_CALL_S, metadata=metadata)


def _generate(channel: grpc.aio.Channel) -> Any:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    return stub.Generate(inference_pb2.GenerateRequest(request=request("Hi")), timeout=_CALL_S)


def _finish(worker: ScriptedWorker, group: worker_pb2.SequenceGroup) -> None:
    worker.send_output(group, b"late", end=types_pb2.FINISH_REASON_LENGTH)


def _watch(channel: grpc.aio.Channel) -> Any:
    """A call that ends with its connection alone."""
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=_CALL_S)


def _read_until_closed(address: str, sent: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=_SILENCE_S) as connection:
        connection.sendall(sent)
        while part := connection.recv(1 << 16):
            received += part
    return received


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details()


async def test_metadata_over_the_bound_ends_its_call_alone(start: StartDeployment) -> None:
    """20 kB of metadata are refused before a handler sees them; the same connection goes on."""
    deployment = await start(max_metadata_bytes=8192)
    async with _connection(deployment.gateway.address) as channel:
        code, line = await _refusal(_models(channel, metadata=[("x-filler", "x" * 20_000)]))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "metadata" in line
        assert "8192" in line
        assert len((await _models(channel, metadata=[("x-filler", "x" * 7_000)])).models) == 1


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_message_of_100_mb_is_refused_and_never_held(tmp_path: Path, compression: grpc.Compression) -> None:
    """Neither sent as it is nor packed into 100 kB may it cost the gateway its size."""
    request = inference_pb2.CompleteRequest(
        request=inference_pb2.GenerationRequest(input=inference_pb2.Input(text="x" * 100_000_000))
    )
    with gateway_process(tmp_path) as gateway:
        async with _connection(gateway.address) as channel:
            await _models(channel)
            before = gateway.memory_bytes()
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            code, line = await _refusal(stub.Complete(request, timeout=_CALL_S, compression=compression))
            await _models(channel)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in line
        assert gateway.memory_bytes() - before < 48 * _MIB


async def test_streams_over_the_bound_of_a_connection_wait_and_others_go_on(start: StartDeployment) -> None:
    """A client that opens more than it may gets them in turn; the next client notices nothing."""
    deployment = await start(num_replicas=0, is_ready=False, max_streams_per_connection=2)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    async with (
        _connection(deployment.gateway.address) as greedy,
        _connection(deployment.gateway.address) as other,
    ):
        await _models(greedy)  # the bound is told with the connection's first frames
        streams = [asyncio.ensure_future(collect(_generate(greedy))) for _ in range(2)]
        await worker.until(lambda: len(worker.groups) == 2)
        waiting = asyncio.ensure_future(_models(greedy))
        assert len((await _models(other)).models) == 1
        assert not waiting.done()
        _finish(worker, worker.groups[0])
        assert len((await waiting).models) == 1
        _finish(worker, worker.groups[1])
        assert [text_of(await stream) for stream in streams] == ["late", "late"]


@pytest.mark.parametrize("max_streams", [100, 3000])
async def test_ten_thousand_calls_at_once_on_one_connection_are_all_answered(tmp_path: Path, max_streams: int) -> None:
    """They take their turns, however many at once, the next client does not wait for them, and memory returns."""
    with gateway_process(tmp_path, MAX_STREAMS_PER_CONNECTION=str(max_streams)) as gateway:
        async with _connection(gateway.address) as greedy, _connection(gateway.address) as other:
            await asyncio.gather(*(_models(greedy) for _ in range(3000)))
            before = gateway.memory_bytes()
            calls = [asyncio.ensure_future(_models(greedy)) for _ in range(10_000)]
            await _models(other)
            assert not all(call.done() for call in calls)
            await asyncio.gather(*calls)
        assert gateway.memory_bytes() - before < 48 * _MIB


async def test_calls_over_the_bound_are_refused_at_once(start: StartDeployment) -> None:
    """All connections together have a bound too, and nobody waits in silence."""
    deployment = await start(max_calls=3)
    async with _connection(deployment.gateway.address) as channel:
        watches = [_watch(channel) for _ in range(3)]
        for watch in watches:
            await watch.read()
        assert (await _refusal(_models(channel)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_connections_over_the_bound_are_closed(start: StartDeployment) -> None:
    """Sockets are memory; whoever is connected already stays so."""
    deployment = await start(max_connections=2)
    address = deployment.gateway.address
    async with _connection(address) as first, _connection(address) as second, _connection(address) as third:
        await _models(first)
        await _models(second)
        assert (await _refusal(_models(third)))[0] is grpc.StatusCode.UNAVAILABLE
        await _models(first)


async def test_a_client_goes_on_over_an_old_connections_end(start: StartDeployment) -> None:
    """Each connection is ended in its time, so that clients spread over new gateways. No call fails by it."""
    deployment = await start(max_connection_age_s=0.2)
    async with _connection(deployment.gateway.address) as channel:
        for _ in range(5):
            assert len((await _models(channel)).models) == 1
            await channel.wait_for_state_change(_READY)


async def test_a_stream_outlives_its_connections_age(start: StartDeployment) -> None:
    """The grace is as long as any request may take."""
    deployment = await start(num_replicas=0, is_ready=False, max_connection_age_s=0.2)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    async with _connection(deployment.gateway.address) as channel:
        call = _generate(channel)
        await worker.until(lambda: bool(worker.groups))
        for _ in range(3):  # connections come and go meanwhile
            await channel.wait_for_state_change(_READY)
            await _models(channel)
        _finish(worker, worker.groups[0])
        events = await collect(call)
    assert text_of(events) == "late"
    assert events[-1].HasField("final")


async def test_a_client_that_is_silent_from_the_start_is_disconnected(start: StartDeployment) -> None:
    """An open socket costs its owner nothing and us a handshake's memory."""
    deployment = await start(handshake_timeout_s=0.2)
    await asyncio.to_thread(_read_until_closed, deployment.gateway.address, b"")


async def test_a_client_that_is_gone_without_a_word_is_found_out(start: StartDeployment) -> None:
    """Pulled cables send no goodbye; what is generated for them must stop."""
    deployment = await start(keepalive_s=0.2, keepalive_timeout_s=0.2, handshake_timeout_s=600)
    await asyncio.to_thread(_read_until_closed, deployment.gateway.address, _MUTE_CLIENT)


async def test_a_client_that_floods_with_pings_is_disconnected(start: StartDeployment) -> None:
    """Each ping has to be answered."""
    deployment = await start(min_ping_interval_s=300)
    pings = [("grpc.keepalive_time_ms", 50), ("grpc.keepalive_permit_without_calls", 1)]
    async with _connection(deployment.gateway.address, *pings, ("grpc.http2.max_pings_without_data", 0)) as channel:
        watch = _watch(channel)
        await watch.read()
        code, line = await _refusal(watch.read())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert line == "Too many pings"
