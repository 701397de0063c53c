"""The fleet in its process: directory, gRPC server and one supervisor a replica."""

import asyncio

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import ModelSpec, ReplicaState
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer
from penstock_worker.fleet.directory import FleetDirectory
from penstock_worker.fleet.service import FleetService
from penstock_worker.fleet.supervisor import ReplicaProcess, ReplicaSupervisor

SERVICE_NAME = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name
# For watchers to see the last versions.
_WATCH_GRACE_S = 0.2


class FleetController:
    """Keeps the wanted replicas of one model running and tells of them.

    Args:
        spec: the model.
        directory: where everything is published.
        processes: the replicas, by id.
        tracer: records calls.
        credential: what callers must show; None: nothing.
    """

    def __init__(
        self,
        *,
        spec: ModelSpec,
        directory: FleetDirectory,
        processes: dict[str, ReplicaProcess],
        tracer: Tracer,
        credential: FleetCredential | None,
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._tracer = tracer
        self._credential = credential
        self._supervisors = [
            ReplicaSupervisor(replica_id, spec, process, publish=directory.put_replica)
            for replica_id, process in processes.items()
        ]
        self._server: GrpcServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, bind: str) -> int:
        """Publishes the model, listens, and begins to bring the replicas up; returns the port.

        Raises:
            OSError: `bind` cannot be bound.
        """
        server = GrpcServer(bind=bind, service_names=[SERVICE_NAME], tracer=self._tracer, credential=self._credential)
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(FleetService(self._directory), server.server)
        self._directory.put_model(self._spec)
        port = await server.start()
        await server.set_serving(True)
        self._server = server
        self._tasks = [asyncio.create_task(supervisor.run()) for supervisor in self._supervisors]
        return port

    async def wait_until_settled(self) -> str | None:
        """Waits until a replica serves; or until all have failed: then returns why the first one did."""
        async for directory in self._directory.follow():
            states = [replica.state for replica in directory.replicas]
            if ReplicaState.READY in states:
                return None
            if len(states) == len(self._supervisors) and set(states) == {ReplicaState.FAILED}:
                return directory.replicas[0].detail
        raise AssertionError("the directory is followed for ever")

    async def stop(self, limit_s: float) -> None:
        """Drains all replicas at once, ends them, then the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(supervisor.stop(limit_s) for supervisor in self._supervisors))
        if self._server is not None:
            await self._server.drain(_WATCH_GRACE_S)
