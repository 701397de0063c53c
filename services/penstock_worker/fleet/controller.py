"""The fleet in its process: directory, gRPC server and one supervisor a replica."""

import asyncio
from dataclasses import replace
from pathlib import Path

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import AdapterSpec, ModelSpec, ReplicaState
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer
from penstock_worker.fleet.adapter_list import AdapterList
from penstock_worker.fleet.adapters import FleetAdapters
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
        model_dir: of the model's checkpoint.
        adapters: those that were wanted before.
        tracer: records calls.
        credential: what callers must show; None: nothing.
    """

    def __init__(
        self,
        *,
        spec: ModelSpec,
        directory: FleetDirectory,
        processes: dict[str, ReplicaProcess],
        model_dir: Path,
        adapters: AdapterList,
        tracer: Tracer,
        credential: FleetCredential | None,
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._tracer = tracer
        self._credential = credential
        self._adapters = FleetAdapters(
            model_dir=model_dir, wanted=adapters, serving=self._serving, publish=self._publish_adapters
        )
        self._supervisors = [
            ReplicaSupervisor(replica_id, spec, process, publish=directory.put_replica, prepare=self._adapters.bring)
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
        service = FleetService(self._directory, self._spec.name, self._adapters)
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(service, server.server)
        self._directory.put_model(self._spec)
        await self._adapters.restore()
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

    def _serving(self) -> list[ReplicaProcess]:
        states = (ReplicaState.READY, ReplicaState.DRAINING)
        return [supervisor.process for supervisor in self._supervisors if supervisor.info.state in states]

    def _publish_adapters(self, adapters: tuple[AdapterSpec, ...]) -> None:
        self._directory.put_model(replace(self._spec, adapters=adapters))

    async def stop(self, limit_s: float) -> None:
        """Drains all replicas at once, ends them, then the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(supervisor.stop(limit_s) for supervisor in self._supervisors))
        if self._server is not None:
            await self._server.drain(_WATCH_GRACE_S)
