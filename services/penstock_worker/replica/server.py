"""A loaded engine behind gRPC: wires thread, hub and service, and ends them in order."""

import asyncio
import contextlib
import time

from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer
from penstock_worker.replica.engine_loop import EngineApi, EngineLoop, Report
from penstock_worker.replica.hub import SessionHub
from penstock_worker.replica.messages import Identity
from penstock_worker.replica.outbox import Outbox
from penstock_worker.replica.prefix_feed import PrefixFeed
from penstock_worker.replica.running import RunningSequences
from penstock_worker.replica.service import WorkerService
from penstock_worker.replica.spans import GenerationSpans

SERVICE_NAME = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name
HEARTBEAT_INTERVAL_S = 0.5
# Tokens and log probabilities: some tens of megabytes, or many seconds of a busy engine's output.
MAX_OUTBOX_COST = 524_288
MAX_READER_STALL_S = 10.0
# For the last outputs and the closing status of sessions to reach their gateways.
_STATUS_GRACE_S = 2.0


class ReplicaServer:
    """Serves one engine.

    Args:
        engine: loaded; belongs to the server's engine thread from `start` on.
        identity: of this replica.
        bind: host:port to listen on; port 0 lets the system choose.
        tracer: records sequences and calls.
        credential: what gateways must show; None: nothing.
        certificates: it speaks TLS with these; None: plaintext.
        max_outbox_cost: see `Outbox`.
        max_reader_stall_s: see `Outbox`.
    """

    def __init__(
        self,
        *,
        engine: EngineApi,
        identity: Identity,
        bind: str,
        tracer: Tracer,
        credential: FleetCredential | None,
        certificates: ReloadingCertificates | None = None,
        max_outbox_cost: int = MAX_OUTBOX_COST,
        max_reader_stall_s: float = MAX_READER_STALL_S,
    ) -> None:
        def new_outbox(prefix_feed: PrefixFeed) -> Outbox:
            return Outbox(
                max_cost=max_outbox_cost,
                max_stall_s=max_reader_stall_s,
                clock=time.monotonic,
                prefix_feed=prefix_feed,
            )

        self._loop = asyncio.get_running_loop()
        self._engine_loop = EngineLoop(engine, self._post)
        self.crashed: asyncio.Future[Exception] = self._loop.create_future()
        spans = GenerationSpans(tracer, identity.replica_id)
        self._sequences = RunningSequences(self._engine_loop, spans, self._loop.call_later)
        self._hub = SessionHub(
            identity=identity,
            engine=self._engine_loop,
            sequences=self._sequences,
            new_outbox=new_outbox,
            on_crash=self.crashed.set_result,
        )
        self._server = GrpcServer(
            bind=bind, service_names=[SERVICE_NAME], tracer=tracer, credential=credential, certificates=certificates
        )
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(WorkerService(self._hub), self._server.server)
        self._heartbeats: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Starts engine thread, heartbeats and server; returns the port.

        Raises:
            OSError: the address cannot be bound.
        """
        port = await self._server.start()
        self._engine_loop.start()
        self._heartbeats = asyncio.create_task(self._send_heartbeats())
        await self._server.set_serving(True)
        return port

    async def stop(self, limit_s: float) -> None:
        """Takes no new work, lets what runs finish for `limit_s` seconds, then ends everything."""
        await self._server.set_serving(False)
        self._hub.start_drain(time.time_ns() + int(limit_s * 1e9))
        with contextlib.suppress(TimeoutError):  # what still runs then is cancelled with its session
            await asyncio.wait_for(self._sequences.is_idle.wait(), limit_s)
        self._hub.end_sessions()
        await self._server.drain(_STATUS_GRACE_S)
        if self._heartbeats is not None:
            self._heartbeats.cancel()
        await asyncio.to_thread(self._engine_loop.stop)

    def _post(self, report: Report) -> None:
        """From the engine's thread into the event loop."""
        self._loop.call_soon_threadsafe(self._hub.on_report, report)

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            self._hub.beat()
