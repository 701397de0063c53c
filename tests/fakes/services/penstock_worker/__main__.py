"""A fleet whose replicas exist on paper."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from fakes.tiny_service import behaviour, serve

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.credentials import FleetCredential


class PaperFleet(fleet_pb2_grpc.FleetServiceServicer):
    """Tells as many ready replicas as are asked for."""

    def __init__(self) -> None:
        self._credential = FleetCredential.load(Path(os.environ["PENSTOCK_FLEET_CREDENTIAL_FILE"]))
        state = fleet_pb2.ReplicaState.Value(behaviour("worker").get("replica_state", "REPLICA_STATE_READY"))
        model = os.environ["PENSTOCK_WORKER_MODEL_NAME"]
        self._directory = fleet_pb2.Directory(
            version=1,
            replicas=[
                fleet_pb2.Replica(
                    replica_id=f"{model}-{number}",
                    model=model,
                    state=state,
                    address=f"127.0.0.1:{number + 1}",
                    incarnation=1,
                    numerics_fingerprint="7c70abbd/float32+w8a8/tp1.pp1/cpu/torch",
                    detail=behaviour("worker").get("replica_detail", ""),
                )
                for number in range(int(os.environ["PENSTOCK_WORKER_REPLICAS"]))
            ],
        )

    def WatchReplicas(self, request: Any, context: Any) -> Iterator[fleet_pb2.WatchReplicasResponse]:  # noqa: N802
        """Tells the directory once and keeps the stream open."""
        self._check(context)
        gone = threading.Event()
        context.add_callback(gone.set)
        yield fleet_pb2.WatchReplicasResponse(directory=self._directory)
        gone.wait()

    def GetFleet(self, request: Any, context: Any) -> fleet_pb2.GetFleetResponse:  # noqa: N802
        """Tells the directory."""
        self._check(context)
        return fleet_pb2.GetFleetResponse(directory=self._directory)

    def _check(self, context: Any) -> None:
        if not self._credential.matches(context.invocation_metadata()):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no credential")


def add_to(server: grpc.Server) -> None:
    """Adds the fleet."""
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(PaperFleet(), server)


serve("worker", os.environ["PENSTOCK_WORKER_FLEET_BIND"], add_to=add_to)
