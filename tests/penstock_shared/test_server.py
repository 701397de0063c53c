"""Servers and channels as services use them, over real loopback gRPC."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from fakes.span_collector import span_collector
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.channels import RetryBudget, call_with_retries, open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import Directory, DirectoryWatcher, directory_to_proto
from penstock_shared.errors import InvalidArgumentError, UnavailableError
from penstock_shared.server import GrpcServer, serve_until_signalled
from penstock_shared.settings import ServiceSettings
from penstock_shared.tracing import Tracer, current_trace, make_tracer

_SERVICE = "penstock.fleet.v1.FleetService"


class _Fleet(fleet_pb2_grpc.FleetServiceServicer):
    """Answers by the replica id that it is asked to drain; streams two directories."""

    def __init__(self) -> None:
        self.num_calls = 0
        self.may_finish = asyncio.Event()
        self.entered = asyncio.Event()

    async def Drain(self, request: fleet_pb2.DrainRequest, context: Any) -> fleet_pb2.DrainResponse:  # noqa: N802
        self.num_calls += 1
        match request.replica_id:
            case replica_id if replica_id == "bad" or len(replica_id) > 100:
                raise InvalidArgumentError("replica_id", replica_id[:100], "a replica's id")
            case "bug":
                raise ZeroDivisionError("secret detail")
            case "flaky" if self.num_calls < 3:
                raise UnavailableError("not yet")
            case "down":
                raise UnavailableError("never")
            case "stopping" if self.num_calls < 2:
                await context.abort(grpc.StatusCode.CANCELLED)
            case "slow":
                self.entered.set()
                await self.may_finish.wait()
        return fleet_pb2.DrainResponse()

    async def WatchReplicas(  # noqa: N802
        self, request: fleet_pb2.WatchReplicasRequest, context: object
    ) -> AsyncIterator[fleet_pb2.WatchReplicasResponse]:
        self.num_calls += 1
        for version in (self.num_calls, self.num_calls + 1):
            yield fleet_pb2.WatchReplicasResponse(directory=directory_to_proto(Directory(version=version)))
        if self.num_calls == 1:
            raise UnavailableError("restarting")
        await self.may_finish.wait()


@asynccontextmanager
async def _serving(
    credential: FleetCredential | None = None, tracer: Tracer | None = None
) -> AsyncIterator[tuple[_Fleet, GrpcServer, str]]:
    fleet = _Fleet()
    server = GrpcServer(
        bind="127.0.0.1:0", service_names=[_SERVICE], tracer=tracer or Tracer("server"), credential=credential
    )
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server.server)
    port = await server.start()
    await server.set_serving(True)
    try:
        yield fleet, server, f"127.0.0.1:{port}"
    finally:
        fleet.may_finish.set()
        await server.drain(0)


def _stub(address: str, credential: FleetCredential | None = None) -> "fleet_pb2_grpc.FleetServiceAsyncStub":
    return fleet_pb2_grpc.FleetServiceStub(open_channel(address, credential=credential, tracer=Tracer("client")))


async def _drain(address: str, replica_id: str, **kwargs: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _stub(address).Drain(fleet_pb2.DrainRequest(replica_id=replica_id), timeout=5)
    return raised.value


def _holds_a_request(frame: FrameType, num_bytes: int) -> bool:
    """Whether a frame has a request of that size in one of its names, parsed or not."""
    found = frame.f_locals.values()
    sizes = [
        value.ByteSize() if isinstance(value, fleet_pb2.DrainRequest) else len(value)
        for value in found
        if isinstance(value, bytes | fleet_pb2.DrainRequest)
    ]
    return max(sizes, default=0) >= num_bytes


async def _wait_until_refused(address: str) -> None:
    """A call that arrives in the very moment of the stop is cancelled by gRPC itself."""
    code = None
    while code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        try:
            await _stub(address).Drain(fleet_pb2.DrainRequest(replica_id="x"))
        except grpc.aio.AioRpcError as error:
            code = error.code()


async def test_a_refused_request_is_let_go_of_at_once() -> None:
    """Kept in a cycle of gRPC's until a garbage collection minutes later, a few large ones would fill the memory."""
    size = 1 << 20
    gc.disable()
    try:
        async with _serving() as (_, _, address):
            await _drain(address, "x" * size)
            frames = [found for found in gc.get_objects() if isinstance(found, FrameType)]
            keepers = [frame.f_code.co_qualname for frame in frames if _holds_a_request(frame, size)]
    finally:
        gc.enable()
    assert keepers == []


async def test_an_error_of_the_tree_leaves_with_code_and_details() -> None:
    """A client sees which field is wrong, whatever language it is written in."""
    async with _serving() as (_, _, address):
        error = await _drain(address, "bad")
        status = rpc_status.from_call(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert {detail.type_url.rsplit(".", 1)[1] for detail in status.details} == {"ErrorInfo", "BadRequest"}


async def test_an_unknown_exception_leaves_as_internal_without_internals() -> None:
    """Tracebacks belong into our log."""
    async with _serving() as (_, _, address):
        error = await _drain(address, "bug")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()


async def test_calls_and_streams_need_the_fleet_credential_but_health_does_not(tmp_path: Path) -> None:
    """Probes have no secrets; everybody else must show one."""
    credential = FleetCredential.create(tmp_path / "credential")
    async with _serving(credential) as (fleet, _, address):
        assert (await _drain(address, "x")).code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError, match="credential"):
            await _stub(address).WatchReplicas(fleet_pb2.WatchReplicasRequest()).read()
        assert fleet.num_calls == 0
        await _stub(address, credential).Drain(fleet_pb2.DrainRequest(replica_id="x"))
        health = health_pb2_grpc.HealthStub(grpc.aio.insecure_channel(address))
        answer = await health.Check(health_pb2.HealthCheckRequest(service=_SERVICE))
    assert fleet.num_calls == 1
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_retries_stop_at_success_and_at_the_budget() -> None:
    """An outage must not be multiplied by its victims."""
    async with _serving() as (fleet, _, address):
        stub = _stub(address)

        async def call(replica_id: str, budget: RetryBudget) -> None:
            await call_with_retries(
                lambda timeout_s: stub.Drain(fleet_pb2.DrainRequest(replica_id=replica_id), timeout=timeout_s),
                deadline=Deadline.after(10),
                budget=budget,
            )

        await call("flaky", RetryBudget())
        assert fleet.num_calls == 3
        fleet.num_calls = 0
        await call("stopping", RetryBudget())
        assert fleet.num_calls == 2
        fleet.num_calls, budget = 0, RetryBudget(ratio=0.0, maximum=5)
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError):
                await call("down", budget)
    assert fleet.num_calls == 25


async def test_the_first_signal_lets_a_running_call_finish() -> None:
    """A deployment must not cost its users their answers."""
    async with _serving() as (fleet, server, address):
        serving = asyncio.create_task(serve_until_signalled(server, drain_grace_s=20))
        call = asyncio.ensure_future(_stub(address).Drain(fleet_pb2.DrainRequest(replica_id="slow")))
        await fleet.entered.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await _wait_until_refused(address)
        fleet.may_finish.set()
        assert await call == fleet_pb2.DrainResponse()
        await serving


async def test_a_drain_waits_for_calls_and_not_for_watches() -> None:
    """A health or directory watch never ends by itself; waiting for it made every shutdown last the whole grace."""
    async with _serving() as (fleet, server, address):
        watch = _stub(address).WatchReplicas(fleet_pb2.WatchReplicasRequest())
        fleet.num_calls = 1
        await watch.read()
        health = health_pb2_grpc.HealthStub(grpc.aio.insecure_channel(address))
        await health.Watch(health_pb2.HealthCheckRequest()).read()
        call = asyncio.ensure_future(_stub(address).Drain(fleet_pb2.DrainRequest(replica_id="slow")))
        await fleet.entered.wait()
        drain = asyncio.create_task(server.drain(600))
        await _wait_until_refused(address)
        assert not drain.done()
        fleet.may_finish.set()
        await call
        async with asyncio.timeout(10):
            await drain


async def test_the_second_signal_ends_at_once() -> None:
    """An operator who asks twice means it."""
    async with _serving() as (fleet, server, address):
        serving = asyncio.create_task(serve_until_signalled(server, drain_grace_s=600))
        call = asyncio.ensure_future(_stub(address).Drain(fleet_pb2.DrainRequest(replica_id="slow")))
        await fleet.entered.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await _wait_until_refused(address)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await serving
        with pytest.raises(grpc.aio.AioRpcError, match="shutting down"):
            await call


async def test_a_watcher_reconnects_and_keeps_the_newest_directory() -> None:
    """A restart of the fleet must not cost a gateway its replicas."""
    versions: list[int] = []
    third = asyncio.Event()

    def on_change(directory: Directory) -> None:
        versions.append(directory.version)
        if directory.version == 3:
            third.set()

    async with _serving() as (_, _, address):
        watcher = DirectoryWatcher(open_channel(address, credential=None, tracer=Tracer("x")), on_change=on_change)
        task = asyncio.create_task(watcher.run())
        async with asyncio.timeout(10):
            await third.wait()
        task.cancel()
    assert versions == [1, 2, 2, 3]


async def test_a_call_is_one_trace_from_client_to_server() -> None:
    """The server's span hangs under the client's, which hangs under the caller's."""
    with span_collector() as collector:
        settings = ServiceSettings(otlp_endpoint=collector.endpoint)
        server_tracer, client_tracer = make_tracer("server", settings), make_tracer("client", settings)
        async with _serving(tracer=server_tracer) as (_, _, address):
            root = client_tracer.begin(None)
            token = current_trace.set(root)
            stub = fleet_pb2_grpc.FleetServiceStub(open_channel(address, credential=None, tracer=client_tracer))
            await stub.Drain(fleet_pb2.DrainRequest(replica_id="x"))
            current_trace.reset(token)
            collected = await asyncio.to_thread(collector.wait_for, lambda spans: len(spans) == 2)
        for tracer in (server_tracer, client_tracer):
            await asyncio.to_thread(tracer.shutdown)
    spans = {span.service: span for span in collected}
    assert spans["server"].parent_id == spans["client"].span_id
    assert int(spans["client"].parent_id, 16) == root.span_id
