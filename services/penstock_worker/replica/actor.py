"""The Ray actor of a replica's leader. Importing it needs neither torch nor the engine: the fleet does."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, PenstockError
from penstock_shared.fingerprint import tokenizer_fingerprint
from penstock_shared.inner_tls import inner_certificates, load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.tracing import make_tracer
from penstock_worker.addresses import advertised_host, split_address
from penstock_worker.parallel.rendezvous import Invitation, Rendezvous
from penstock_worker.replica.engine_settings import engine_config, topology_of
from penstock_worker.replica.progress import LoadProgress
from penstock_worker.replica.registration import LoadFailure, NotLoadedError, ProcessInfo, Registration
from penstock_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from penstock_worker.engine.engine import Engine
    from penstock_worker.engine.loaded_model import LoadedModel
    from penstock_worker.parallel.team import ShardTeam
    from penstock_worker.replica.server import ReplicaServer

# Engine thread and event loop share an interpreter. With Python's 5 ms a message would wait that long for its turn
# whenever a step is in Python code.
_SWITCH_INTERVAL_S = 0.0005
# They have been asked already, and only have to connect.
_JOIN_LIMIT_S = 30.0


class ReplicaActor:
    """Loads the model and serves it until its process ends. Ray restarts the process; the fleet calls `load` again."""

    def __init__(self, settings: WorkerSettings, replica_id: str) -> None:
        configure_logging("worker", settings.log_level, as_json=settings.log_json)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._settings = settings
        self._replica_id = replica_id
        self._process = ProcessInfo.here()
        self._log = get_logger("replica")
        self._tracer = make_tracer("penstock-worker", settings)
        self._loading: asyncio.Task[Registration | LoadFailure] | None = None
        self._server: ReplicaServer | None = None
        self._engine: Engine | None = None
        self._progress = LoadProgress()
        self._rendezvous: Rendezvous | None = None

    async def process(self) -> ProcessInfo:
        """Answers as soon as the process runs."""
        return self._process

    async def progress(self) -> str:
        """What `load` is doing."""
        return str(self._progress)

    async def invite(self) -> Invitation | None:
        """Has shards join; comes before `load`. None: it is alone, or all have joined already."""
        if self._settings.num_shards == 1 or self._loading is not None:
            return None
        self._rendezvous = Rendezvous(self._settings.replica_host, self._advertised_host())
        return self._rendezvous.invitation

    async def load(self) -> Registration | LoadFailure:
        """Loads and serves. Called again, by a fleet that was restarted, it returns the same answer.

        Raises:
            Exception: what nobody expected, as a lack of memory; the next call tries again.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        try:
            return await asyncio.shield(self._loading)
        except Exception:
            self._loading = None
            raise

    async def load_adapter(self, spec: AdapterSpec, path: Path) -> LoadFailure | None:
        """Loads an adapter beside what runs. Comes after `load`.

        Raises:
            NotLoadedError: `load` was another process's.
        """
        if self._engine is None:
            raise NotLoadedError("the process has just been started")
        try:
            await asyncio.to_thread(self._engine.adapters.load, spec, path)
        except (InvalidArgumentError, FailedPreconditionError) as error:
            return LoadFailure(str(error))
        except Exception as error:  # noqa: BLE001 - a lack of memory, say: the replica serves on without it
            self._log.exception("loading an adapter failed", replica=self._replica_id, adapter=spec.name)
            return LoadFailure(f"loading adapter {spec.name} failed: {error!r}", is_passing=True)
        self._log.info("adapter loaded", replica=self._replica_id, adapter=spec.name, revision=spec.revision)
        return None

    async def unload_adapter(self, name: str) -> None:
        """Refuses an adapter from now on; what runs with it is finished."""
        if self._engine is None:
            return  # a process that was just started has none
        with suppress(NotFoundError):
            self._engine.adapters.unload(name)
            self._log.info("adapter unloaded", replica=self._replica_id, adapter=name)

    async def wait_for_death(self) -> None:
        """Never returns: the pending call fails with the process."""
        await asyncio.Event().wait()

    async def stop(self, limit_s: float) -> None:
        """Lets what runs finish for `limit_s` seconds, ends all sessions, and sends the last spans."""
        if self._server is not None:
            await self._server.stop(limit_s)
        await asyncio.to_thread(self._tracer.shutdown)

    async def _load(self) -> Registration | LoadFailure:
        self._progress.enter("importing the engine")
        try:
            engine, model = await asyncio.to_thread(self._build)
            self._progress.enter("warming up")
            fingerprint = await asyncio.to_thread(tokenizer_fingerprint, self._settings.model_dir)
            registration = await self._serve(engine, model, fingerprint)
            self._engine = engine
        except (PenstockError, OSError) as error:
            self._log.error("loading failed", replica=self._replica_id, error=str(error))
            return LoadFailure(str(error))
        self._log.info("ready", replica=self._replica_id, address=registration.address, plan=model.plan)
        return registration

    def _build(self) -> "tuple[Engine, LoadedModel]":
        from penstock_worker.engine.build import build_engine  # noqa: PLC0415 - imports torch

        self._progress.enter("reading weights")
        team = None if self._rendezvous is None else self._gather(self._rendezvous)
        return build_engine(self._settings.model_dir, engine_config(self._settings), team, self._progress.advance)

    def _gather(self, rendezvous: Rendezvous) -> "ShardTeam":
        """The shards that follow this process, as soon as all have joined."""
        from penstock_worker.parallel.followers import Followers  # noqa: PLC0415 - imports torch
        from penstock_worker.parallel.team import ShardTeam  # noqa: PLC0415 - imports torch

        topology = topology_of(self._settings)
        try:
            members = rendezvous.admit(topology.follower_ranks, limit_s=_JOIN_LIMIT_S)
        except FailedPreconditionError as error:  # nothing is wrong with the model: all of it is started anew
            self._lose(str(error))
            raise
        host, _ = split_address(rendezvous.invitation.address)
        return ShardTeam(Followers(topology, members, host, self._lose))

    def _lose(self, why: str) -> None:
        """A shard is gone: the process ends, and with it the other shards."""
        self._log.error("replica ends", replica=self._replica_id, error=why)
        os._exit(1)

    async def _serve(self, engine: "Engine", model: "LoadedModel", fingerprint: str) -> Registration:
        from penstock_worker.replica.messages import Identity  # noqa: PLC0415 - see the module's docstring
        from penstock_worker.replica.server import ReplicaServer  # noqa: PLC0415 - imports torch

        settings = self._settings
        identity = Identity(
            replica_id=self._replica_id,
            incarnation=self._process.incarnation,
            model=settings.model_name,
            revision=model.revision,
            tokenizer_fingerprint=fingerprint,
            numerics_fingerprint=numerics_fingerprint(model),
        )
        credential_file = settings.fleet_credential_file
        self._server = ReplicaServer(
            engine=engine,
            identity=identity,
            bind=f"{settings.replica_host}:0",
            tracer=self._tracer,
            credential=None if credential_file is None else FleetCredential.load(credential_file),
            certificates=inner_certificates(load_inner_tls(settings)),
        )
        port = await self._server.start()
        self._server.crashed.add_done_callback(self._die)
        return Registration(
            address=f"{self._advertised_host()}:{port}",
            revision=model.revision,
            tokenizer_fingerprint=fingerprint,
            numerics_fingerprint=identity.numerics_fingerprint,
            plan=model.plan,
        )

    def _advertised_host(self) -> str:
        import ray  # noqa: PLC0415 - this process's environment is Ray's to make

        settings = self._settings
        node_address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        return settings.replica_advertise_host or advertised_host(settings.replica_host, node_address)

    def _die(self, crash: "asyncio.Future[Exception]") -> None:
        """The engine is beyond use: the process ends, and Ray starts another."""
        self._log.error("replica ends", replica=self._replica_id, error=repr(crash.result()))
        os._exit(1)


def numerics_fingerprint(model: "LoadedModel") -> str:
    """Names what decides the bits of a result; readable, because operators compare them."""
    device = model.device.partition(":")[0]
    precision = f"{model.dtype}+{model.quantization}" if model.quantization else model.dtype
    precision += "+deterministic" if model.is_deterministic else ""
    parts = f"tp{model.shard.tp_size}.pp{model.shard.num_stages}"
    return f"{model.revision[:16]}/{precision}/{parts}/{device}/{model.kernels}"
