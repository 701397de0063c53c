"""The Ray actor of the fleet controller."""

import asyncio
import logging
import time

import ray

from penstock_shared.credentials import FleetCredential
from penstock_shared.inner_tls import inner_certificates, load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.tracing import make_tracer
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.directory import FleetDirectory, VersionFile
from penstock_worker.fleet.ray_replica import RayReplica
from penstock_worker.fleet.server import FleetServer
from penstock_worker.fleet.shard_check import check_shards
from penstock_worker.fleet.spec import ReplicaShape
from penstock_worker.fleet.state_file import StateFile
from penstock_worker.fleet.supervisor import ReplicaProcess
from penstock_worker.settings import WorkerSettings

ACTOR_NAME = "penstock-fleet"


class FleetActor:
    """Runs the controller. After a restart by Ray the driver calls `start` again, and living replicas are adopted."""

    def __init__(self, settings: WorkerSettings) -> None:
        configure_logging("fleet", settings.log_level, as_json=settings.log_json)
        # Ray warns at each start that an actor goes with its placement group, which is what is wanted here.
        logging.getLogger("ray.actor").setLevel(logging.ERROR)
        self._settings = settings
        self._num_gpus = 0.0
        self._turn = asyncio.Lock()
        self._tls = load_inner_tls(settings)
        directory = FleetDirectory(VersionFile(settings.state_dir / "fleet.json", wall_clock=time.time))
        self._controller = FleetController(
            state_file=StateFile.within(settings.state_dir),
            directory=directory,
            make_process=self._make_process,
            check_model=check_shards,
        )
        credential_file = settings.fleet_credential_file
        self._server = FleetServer(
            self._controller,
            directory,
            tracer=make_tracer("penstock-fleet", settings),
            credential=None if credential_file is None else FleetCredential.load(credential_file),
            certificates=inner_certificates(self._tls),
        )
        self._address = ""

    async def start(self, bind: str) -> str:
        """Listens on `bind` and begins to bring the replicas up; returns the address. Again, it only returns it.

        Raises:
            OSError: `bind` cannot be bound.
        """
        if not self._address:
            self._num_gpus = await asyncio.to_thread(self._gpus_per_process)
            address = f"{bind.rpartition(':')[0]}:{await self._server.start(bind)}"
            get_logger("fleet").info("listening", address=address)
            self._address = address
        return self._address

    async def wait_until_settled(self) -> str | None:
        """See `FleetController.wait_until_settled`."""
        return await self._controller.wait_until_settled()

    async def wait_for_death(self) -> None:
        """Never returns: the pending call fails with the process."""
        await asyncio.Event().wait()

    async def stop(self, limit_s: float) -> None:
        """See `FleetServer.stop`."""
        await self._server.stop(limit_s)

    def _make_process(self, replica_id: str, model: str, shape: ReplicaShape) -> ReplicaProcess:
        settings = settings_of_replica(self._settings, model, shape)
        return RayReplica(replica_id, settings, num_gpus=self._num_gpus, turn=self._turn, tls=self._tls)

    def _gpus_per_process(self) -> float:
        """An equal share of the GPUs there are, at most one; 0 where replicas run on CPUs."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus = resources.get("GPU", 0.0)
        if self._settings.device == "cpu" or not num_gpus:
            return 0.0
        return min(1.0, num_gpus / (self._settings.replicas * self._settings.num_shards))


def settings_of_replica(settings: WorkerSettings, model: str, shape: ReplicaShape) -> WorkerSettings:
    """The fleet's settings, with what a model says otherwise."""
    changes = {
        "model_name": model,
        "model_dir": shape.model_dir,
        "device": shape.device,
        "dtype": shape.dtype,
        "quantize": shape.quantize,
        "tensor_parallel": shape.tensor_parallel,
        "pipeline_parallel": shape.pipeline_parallel,
        "threads_per_replica": shape.threads or settings.num_threads,
    }
    return settings.model_copy(update=changes)
