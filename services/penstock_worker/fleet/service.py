"""`FleetService` over gRPC."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.directory import directory_to_proto
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.convert import (
    demand_from_proto,
    progress_to_proto,
    seconds_of,
    spec_from_proto,
    spec_to_proto,
)
from penstock_worker.fleet.directory import FleetDirectory

Context = grpc.aio.ServicerContext[Any, Any]


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Tells of the directory, and changes what is wanted.

    Args:
        directory: what there is.
        controller: what is wanted.
    """

    def __init__(self, directory: FleetDirectory, controller: FleetController) -> None:
        self._directory = directory
        self._controller = controller

    async def WatchReplicas(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.WatchReplicasRequest, _context: Context
    ) -> AsyncIterator[fleet_pb2.WatchReplicasResponse]:
        """The directory at once and at every change."""
        async for directory in self._directory.follow():
            yield fleet_pb2.WatchReplicasResponse(directory=directory_to_proto(directory))

    async def GetFleet(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.GetFleetRequest, _context: Context
    ) -> fleet_pb2.GetFleetResponse:
        """The directory now, what is wanted, and how far that is reached."""
        return fleet_pb2.GetFleetResponse(
            directory=self._told(),
            spec=spec_to_proto(self._controller.spec),
            progress=[progress_to_proto(each) for each in self._controller.progress()],
        )

    async def ApplyFleet(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.ApplyFleetRequest, _context: Context
    ) -> fleet_pb2.ApplyFleetResponse:
        """Sets all that is wanted."""
        await self._controller.apply(spec_from_proto(request.spec))
        return fleet_pb2.ApplyFleetResponse(spec=spec_to_proto(self._controller.spec))

    async def UpdateModel(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.UpdateModelRequest, _context: Context
    ) -> fleet_pb2.UpdateModelResponse:
        """Has a model served from another checkpoint."""
        revision = await self._controller.update(request.model, Path(request.model_dir))
        return fleet_pb2.UpdateModelResponse(revision=revision)

    async def Scale(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.ScaleRequest, _context: Context
    ) -> fleet_pb2.ScaleResponse:
        """Sets how many replicas are wanted."""
        await self._controller.scale(request.model, request.num_replicas)
        return fleet_pb2.ScaleResponse(directory=self._told())

    async def Drain(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.DrainRequest, _context: Context
    ) -> fleet_pb2.DrainResponse:
        """Replaces a replica."""
        limit_s = seconds_of(request.limit) if request.HasField("limit") else None
        if limit_s is not None and limit_s <= 0:
            raise InvalidArgumentError("limit", f"{limit_s:g} s", "a time above 0")
        self._controller.replace(request.replica_id, limit_s)
        return fleet_pb2.DrainResponse(directory=self._told())

    async def ReportDemand(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.ReportDemandRequest, _context: Context
    ) -> fleet_pb2.ReportDemandResponse:
        """A gateway tells what it has to do."""
        if not request.gateway_id:
            raise InvalidArgumentError("gateway_id", "", "the name of a gateway")
        self._controller.take_demand(request.gateway_id, request.directory_version, demand_from_proto(request.demand))
        return fleet_pb2.ReportDemandResponse()

    async def LoadAdapter(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.LoadAdapterRequest, _context: Context
    ) -> fleet_pb2.LoadAdapterResponse:
        """On every replica."""
        await self._controller.adapters(request.model).load(request.name, Path(request.path))
        self._controller.step()  # the name is in the directory when the caller hears of it
        return fleet_pb2.LoadAdapterResponse(directory=self._told())

    async def UnloadAdapter(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.UnloadAdapterRequest, _context: Context
    ) -> fleet_pb2.UnloadAdapterResponse:
        """From every replica."""
        await self._controller.adapters(request.model).unload(request.name)
        self._controller.step()
        return fleet_pb2.UnloadAdapterResponse(directory=self._told())

    def _told(self) -> fleet_pb2.Directory:
        return directory_to_proto(self._directory.current)
