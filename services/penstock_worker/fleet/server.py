"""A fleet behind gRPC: wires controller and service, and ends them in order."""

import asyncio

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.directory import FleetDirectory
from penstock_worker.fleet.service import FleetService

SERVICE_NAME = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name
# For watchers to see the last versions.
_WATCH_GRACE_S = 0.2


class FleetServer:
    """Serves one controller.

    Args:
        controller: not restored yet.
        directory: that it publishes to.
        tracer: records calls.
        credential: what callers must show; None: nothing.
        certificates: it speaks TLS with these; None: plaintext.
    """

    def __init__(
        self,
        controller: FleetController,
        directory: FleetDirectory,
        *,
        tracer: Tracer,
        credential: FleetCredential | None,
        certificates: ReloadingCertificates | None = None,
    ) -> None:
        self._controller = controller
        self._directory = directory
        self._tracer = tracer
        self._credential = credential
        self._certificates = certificates
        self._server: GrpcServer | None = None
        self._run: asyncio.Task[None] | None = None

    async def start(self, bind: str) -> int:
        """Publishes what is wanted, listens, and begins to bring it about; returns the port.

        Raises:
            OSError: `bind` cannot be bound.
        """
        server = GrpcServer(
            bind=bind,
            service_names=[SERVICE_NAME],
            tracer=self._tracer,
            credential=self._credential,
            certificates=self._certificates,
        )
        service = FleetService(self._directory, self._controller)
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(service, server.server)
        port = await server.start()
        self._server = server
        await self._controller.restore()
        await server.set_serving(True)
        self._run = asyncio.create_task(self._controller.run())
        return port

    async def stop(self, limit_s: float) -> None:
        """Drains and ends all replicas, then the server."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        await self._controller.stop(limit_s)
        if self._server is not None:
            await self._server.drain(_WATCH_GRACE_S)
