"""`FleetService` over gRPC."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.directory import directory_to_proto
from penstock_shared.errors import NotFoundError, UnimplementedError
from penstock_worker.fleet.adapters import FleetAdapters
from penstock_worker.fleet.directory import FleetDirectory

Context = grpc.aio.ServicerContext[Any, Any]


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Tells of the directory, and changes what is loaded.

    Args:
        directory: what there is.
        model: the name of the one model.
        adapters: its adapters.
    """

    def __init__(self, directory: FleetDirectory, model: str, adapters: FleetAdapters) -> None:
        self._directory = directory
        self._model = model
        self._adapters = adapters

    async def WatchReplicas(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.WatchReplicasRequest, _context: Context
    ) -> AsyncIterator[fleet_pb2.WatchReplicasResponse]:
        """The directory at once and at every change."""
        async for directory in self._directory.follow():
            yield fleet_pb2.WatchReplicasResponse(directory=directory_to_proto(directory))

    async def GetFleet(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.GetFleetRequest, _context: Context
    ) -> fleet_pb2.GetFleetResponse:
        """The directory now."""
        return fleet_pb2.GetFleetResponse(directory=directory_to_proto(self._directory.current))

    async def Scale(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.ScaleRequest, _context: Context
    ) -> fleet_pb2.ScaleResponse:
        """Not yet."""
        raise UnimplementedError("Scale")

    async def Drain(  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.DrainRequest, _context: Context
    ) -> fleet_pb2.DrainResponse:
        """Not yet."""
        raise UnimplementedError("Drain")

    async def LoadAdapter(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.LoadAdapterRequest, _context: Context
    ) -> fleet_pb2.LoadAdapterResponse:
        """On every replica."""
        self._check_model(request.model)
        await self._adapters.load(request.name, Path(request.path))
        return fleet_pb2.LoadAdapterResponse(directory=directory_to_proto(self._directory.current))

    async def UnloadAdapter(  # noqa: N802 - gRPC's naming
        self, request: fleet_pb2.UnloadAdapterRequest, _context: Context
    ) -> fleet_pb2.UnloadAdapterResponse:
        """From every replica."""
        self._check_model(request.model)
        await self._adapters.unload(request.name)
        return fleet_pb2.UnloadAdapterResponse(directory=directory_to_proto(self._directory.current))

    def _check_model(self, name: str) -> None:
        if name and name != self._model:
            raise NotFoundError("model", name, [self._model])
