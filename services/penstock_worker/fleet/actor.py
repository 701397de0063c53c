"""The Ray actor of the fleet controller."""

import asyncio
import logging
import time

import ray

from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import ModelSpec
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.tracing import make_tracer
from penstock_worker.fleet.adapter_list import AdapterList
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.directory import FleetDirectory, VersionFile
from penstock_worker.fleet.ray_replica import RayReplica
from penstock_worker.fleet.supervisor import ReplicaProcess
from penstock_worker.settings import WorkerSettings

ACTOR_NAME = "penstock-fleet"


class FleetActor:
    """Runs the controller. After a restart by Ray the driver calls `start` again, and living replicas are adopted."""

    def __init__(self, settings: WorkerSettings, spec: ModelSpec) -> None:
        configure_logging("fleet", settings.log_level, as_json=settings.log_json)
        # Ray warns at each start that an actor goes with its placement group, which is what is wanted here.
        logging.getLogger("ray.actor").setLevel(logging.ERROR)
        self._settings = settings
        self._spec = spec
        self._controller: FleetController | None = None
        self._address = ""

    async def start(self, bind: str) -> str:
        """Listens on `bind` and begins to bring the replicas up; returns the address. Again, it only returns it.

        Raises:
            OSError: `bind` cannot be bound.
        """
        if self._controller is None:
            self._controller, self._address = await self._start(bind)
        return self._address

    async def wait_until_settled(self) -> str | None:
        """See `FleetController.wait_until_settled`."""
        assert self._controller is not None, "start comes first"
        return await self._controller.wait_until_settled()

    async def wait_for_death(self) -> None:
        """Never returns: the pending call fails with the process."""
        await asyncio.Event().wait()

    async def stop(self, limit_s: float) -> None:
        """See `FleetController.stop`."""
        if self._controller is not None:
            await self._controller.stop(limit_s)

    async def _start(self, bind: str) -> tuple[FleetController, str]:
        settings = self._settings
        num_gpus = await asyncio.to_thread(self._gpus_per_replica)
        processes: dict[str, ReplicaProcess] = {
            f"{settings.model_name}-{index}": RayReplica(f"{settings.model_name}-{index}", settings, num_gpus=num_gpus)
            for index in range(settings.replicas)
        }
        credential_file = settings.fleet_credential_file
        controller = FleetController(
            spec=self._spec,
            directory=FleetDirectory(VersionFile(settings.state_dir / "fleet.json", wall_clock=time.time)),
            processes=processes,
            model_dir=settings.model_dir,
            adapters=AdapterList.of(settings),
            tracer=make_tracer("penstock-fleet", settings),
            credential=None if credential_file is None else FleetCredential.load(credential_file),
        )
        address = f"{bind.rpartition(':')[0]}:{await controller.start(bind)}"
        get_logger("fleet").info("listening", address=address)
        return controller, address

    def _gpus_per_replica(self) -> float:
        """An equal share of the GPUs there are, at most one; 0 where replicas run on CPUs."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus = resources.get("GPU", 0.0)
        if self._settings.device == "cpu" or not num_gpus:
            return 0.0
        return min(1.0, num_gpus / self._settings.replicas)
