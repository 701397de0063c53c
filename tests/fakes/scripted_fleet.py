"""A FleetService that publishes what a test tells it to."""

import asyncio
from typing import Any

import grpc

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.directory import Directory, directory_to_proto
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer


class ScriptedFleet(fleet_pb2_grpc.FleetServiceServicer):
    """Streams the directory of the last `publish` to every watcher.

    Attributes:
        reports: what gateways told, the last one last.
    """

    def __init__(self, certificates: ReloadingCertificates | None = None) -> None:
        self.directory = Directory()
        self.reports: list[fleet_pb2.ReportDemandRequest] = []
        self.address = ""
        self._changed = asyncio.Condition()
        self._server = GrpcServer(
            bind="127.0.0.1:0", service_names=[], tracer=Tracer("fleet"), certificates=certificates
        )
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(self, self._server.server)

    async def start(self) -> None:
        """Listens; `address` is set."""
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        """Breaks all watches."""
        await self._server.server.stop(0)

    async def publish(self, directory: Directory) -> None:
        """The directory changes."""
        async with self._changed:
            self.directory = directory
            self._changed.notify_all()

    async def ReportDemand(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.ReportDemandRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> fleet_pb2.ReportDemandResponse:
        """Noted."""
        self.reports.append(request)
        return fleet_pb2.ReportDemandResponse()

    async def WatchReplicas(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.WatchReplicasRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """The directory now and after each change."""
        sent: Directory | None = None
        while True:
            async with self._changed:
                while self.directory is sent:
                    await self._changed.wait()
                sent = self.directory
            await context.write(fleet_pb2.WatchReplicasResponse(directory=directory_to_proto(sent)))
