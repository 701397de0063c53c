"""Tells the fleet what this gateway has to do, for as long as it runs."""

import asyncio

import grpc
from google.protobuf.duration_pb2 import Duration

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_gateway.dispatch.demand import DemandMeter, RevisionDemand
from penstock_gateway.models import ModelCatalog
from penstock_shared.logs import get_logger

_PERIOD_S = 0.5
_TIMEOUT_S = 2.0


class DemandReporter:
    """Calls `FleetService.ReportDemand`.

    Args:
        channel: to the fleet.
        gateway_id: names this gateway.
        models: knows the directory that requests go by.
        meter: knows what there is to do.
    """

    def __init__(self, channel: grpc.aio.Channel, *, gateway_id: str, models: ModelCatalog, meter: DemandMeter) -> None:
        self._stub = fleet_pb2_grpc.FleetServiceStub(channel)
        self._gateway_id = gateway_id
        self._models = models
        self._meter = meter
        self._log = get_logger("demand")

    async def run(self) -> None:
        """Reports until cancelled. A fleet that is out of reach hears of it when it is back."""
        while True:
            request = fleet_pb2.ReportDemandRequest(
                gateway_id=self._gateway_id,
                directory_version=self._models.directory_version,
                demand=[_to_proto(each) for each in self._meter.demand()],
            )
            try:
                await self._stub.ReportDemand(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                self._log.debug("demand not reported", code=error.code().name)
            await asyncio.sleep(_PERIOD_S)


def _to_proto(demand: RevisionDemand) -> fleet_pb2.RevisionDemand:
    wait = Duration()
    wait.FromNanoseconds(int(demand.predicted_wait_s * 1e9))
    return fleet_pb2.RevisionDemand(
        model=demand.model,
        revision=demand.revision,
        num_requests=demand.num_requests,
        num_running=demand.num_running,
        num_waiting=demand.num_waiting,
        num_waiting_tokens=demand.num_waiting_tokens,
        predicted_wait=wait,
        placed_per_second=demand.placed_per_s,
    )
