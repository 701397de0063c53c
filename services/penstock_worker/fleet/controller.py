"""Keeps what there is like what is wanted, and tells of both."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from penstock_shared.directory import ModelSpec, ReplicaState, RevisionKey
from penstock_shared.errors import InvalidArgumentError, NotFoundError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.adapters import FleetAdapters
from penstock_worker.fleet.autoscaling import Autoscaling, keeping_count
from penstock_worker.fleet.catalog import FleetCatalog
from penstock_worker.fleet.demand import Demand, DemandBoard
from penstock_worker.fleet.directory import FleetDirectory
from penstock_worker.fleet.members import MakeProcess, Members
from penstock_worker.fleet.progress import ModelProgress, progress_of
from penstock_worker.fleet.publisher import ModelPublisher
from penstock_worker.fleet.reconcile import StartReplica, reconcile
from penstock_worker.fleet.retirement import RetiredRevisions
from penstock_worker.fleet.spec import FleetSpec, WantedModel, changed_model
from penstock_worker.fleet.state_file import FleetState, KnownReplica, StateFile
from penstock_worker.fleet.supervisor import ReplicaProcess

# As long as a gateway lets a request take by default.
_DRAIN_LIMIT_S = 600.0
_STOP_MARGIN_S = 3.0
# For what changes without an event: time passes.
_TICK_S = 1.0


class FleetController:
    """Has the wanted replicas of all models run.

    Belongs to one event loop. What is wanted changes by its methods; `run` then acts until there is what is wanted.

    Args:
        state_file: what is wanted, and what was started before.
        directory: where everything is published.
        make_process: see `Members`.
        check_model: raises `InvalidArgumentError` for a model that cannot run here.
        drain_limit_s: how long a replica that goes may work on what it has.
        clock: monotonic seconds.
        stop_margin_s: a replica that has not ended so long after its limit is ended by force.
    """

    def __init__(
        self,
        *,
        state_file: StateFile,
        directory: FleetDirectory,
        make_process: MakeProcess,
        check_model: Callable[[WantedModel], None] = lambda _: None,
        drain_limit_s: float = _DRAIN_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
        stop_margin_s: float = _STOP_MARGIN_S,
    ) -> None:
        self._file = state_file
        self._directory = directory
        self._check_model = check_model
        self._drain_limit_s = drain_limit_s
        self._state = self._written = FleetState()
        self._board = DemandBoard(clock)
        self._autoscaling = Autoscaling(self._board, clock)
        self._retired = RetiredRevisions(self._board, clock, limit_s=drain_limit_s)
        self._has_news = asyncio.Event()
        self._lock = asyncio.Lock()  # one change of what is wanted at a time
        self._log = get_logger("fleet")
        self._catalog = FleetCatalog(serving=self._serving, keep=self._keep_adapters, on_change=self._has_news.set)
        self._publisher = ModelPublisher(directory, self._catalog, self._retired)
        self._members = Members(
            make_process=make_process,
            directory=directory,
            prepare=self._catalog.prepare,
            on_change=self._has_news.set,
            stop_margin_s=stop_margin_s,
        )

    @property
    def spec(self) -> FleetSpec:
        """What is wanted."""
        return self._state.spec

    async def restore(self) -> None:
        """Takes over what an earlier fleet wanted and had started. Comes first."""
        self._state = self._written = self._file.read()
        self._catalog.remember(self._state.revisions)
        for model in self.spec.models:
            checkpoint = await self._catalog.find(model)
            self._catalog.put(model, checkpoint, await self._catalog.prepare_adapters(model))
        for known in self._state.replicas:
            spec = self._catalog.checkpoint(known.model, known.revision)
            if spec is None:
                self._log.error("a replica of an unknown revision is left alone", replica=known.replica_id)
            elif known.is_leaving:
                self._members.finish(known, spec, known.drain_limit_s or self._drain_limit_s)
            else:
                self._members.start(known, spec, is_found=True)
        self.step()

    async def run(self) -> None:
        """Acts at every change, until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), _TICK_S)
            self._has_news.clear()
            try:
                self.step()
            except Exception:  # noqa: BLE001 - the boundary: a fleet that stopped acting would look well
                self._log.exception("reconciling failed")

    def step(self) -> None:
        """One look at what there is and what is wanted, and all that follows from it."""
        self._state = self._state.model_copy(update={"spec": self._autoscaling.follow(self.spec, self._num_ready)})
        wanted, running = self._catalog.wanted(self.spec), self._members.running()
        for action in reconcile(wanted, running, released=self._retired.released()):
            if isinstance(action, StartReplica):
                self._start(action)
            else:
                self._members.drain(action.replica_id, self._drain_limit_s)
        self._publisher.publish(self.spec, self._members.running())
        self._save()  # before what was begun comes to its first await

    async def apply(self, spec: FleetSpec) -> None:
        """Sets all that is wanted.

        Raises:
            InvalidArgumentError: a checkpoint or an adapter cannot be served; nothing has changed then.
            FailedPreconditionError: a replica cannot load an adapter.
        """
        async with self._lock:
            found = [await self._check(model, f"models[{index}]") for index, model in enumerate(spec.models)]
            adapters = [await self._catalog.prepare_adapters(model) for model in spec.models]
            for model, checkpoint, its_adapters in zip(spec.models, found, adapters, strict=True):
                self._catalog.put(model, checkpoint, its_adapters)
            self._want(FleetSpec(models=tuple(self._as_before(model) for model in spec.models)))
            for model in spec.models:
                await self._catalog.adapters(model.name).change(model.adapters)

    async def update(self, name: str, model_dir: Path) -> str:
        """Has a model served from another checkpoint; returns its revision.

        Raises:
            NotFoundError: no such model.
            InvalidArgumentError: there is no checkpoint that can be served, or an adapter does not fit it.
        """
        async with self._lock:
            checkpoint = await self._check(changed_model(self._model(name), model_dir=model_dir), "request")
            model = changed_model(self._model(name), model_dir=model_dir)
            self._catalog.put(model, checkpoint, self._catalog.adapters(name))
            self._want(self.spec.replacing(model))
            return checkpoint.revision

    async def scale(self, name: str, num_replicas: int) -> None:
        """Sets how many replicas of a model are wanted.

        Raises:
            NotFoundError: no such model.
            InvalidArgumentError: the number is not allowed for it.
        """
        async with self._lock:
            model = self._model(name)
            if not model.min_replicas <= num_replicas <= model.max_replicas:
                allowed = f"{model.min_replicas} to {model.max_replicas}, the model's min_replicas and max_replicas"
                raise InvalidArgumentError("num_replicas", num_replicas, allowed)
            self._want(self.spec.replacing(changed_model(model, replicas=num_replicas)))

    def replace(self, replica_id: str, limit_s: float | None) -> None:
        """Has another replica started in place of this one, which then goes.

        Raises:
            NotFoundError: no such replica.
        """
        staying = [replica.replica_id for replica in self._members.running() if not replica.is_leaving]
        if replica_id not in staying:
            raise NotFoundError("replica", replica_id, staying, field="replica_id")
        self._members.mark_unwanted(replica_id, limit_s)
        self._has_news.set()

    def take_demand(self, gateway_id: str, directory_version: int, demand: Mapping[RevisionKey, Demand]) -> None:
        """A gateway tells what it has to do."""
        self._board.take(gateway_id, directory_version, demand)
        is_asleep = {model.name for model in self.spec.models if model.replicas == 0 and model.autoscale is not None}
        if any(name in is_asleep and each.num_requests for (name, _), each in demand.items()):
            self._has_news.set()

    def adapters(self, name: str) -> FleetAdapters:
        """See `FleetCatalog.adapters`."""
        return self._catalog.adapters(name)

    def progress(self) -> list[ModelProgress]:
        """How far what is wanted is reached, by model."""
        wanted = {each.model: each for each in self._catalog.wanted(self.spec)}
        running = self._members.running()
        names = [*wanted, *sorted({replica.model for replica in running} - wanted.keys())]
        return [progress_of(name, wanted.get(name), running, self._members.infos(name)) for name in names]

    async def wait_until_settled(self) -> str | None:
        """Waits until a replica serves, or none is wanted; or until all have failed: then returns why the first did."""
        async for directory in self._directory.follow():
            states = [replica.state for replica in directory.replicas]
            num_wanted = sum(model.replicas for model in self.spec.models)
            if ReplicaState.READY in states or num_wanted == 0:
                return None
            if len(states) >= num_wanted and set(states) == {ReplicaState.FAILED}:
                return directory.replicas[0].detail
        raise AssertionError("the directory is followed for ever")

    async def stop(self, limit_s: float) -> None:
        """Drains all replicas at once and ends them. To be called when `run` has been cancelled."""
        await self._members.stop(limit_s)
        self._save()

    async def _check(self, model: WantedModel, field: str) -> ModelSpec:
        checkpoint = await self._catalog.check(model, field=field)
        await asyncio.to_thread(self._check_model, model)
        return checkpoint

    def _model(self, name: str) -> WantedModel:
        model = self.spec.get(name)
        if model is None:
            raise NotFoundError("model", name, [each.name for each in self.spec.models])
        return model

    def _want(self, spec: FleetSpec) -> None:
        self._state = self._state.model_copy(update={"spec": spec})
        self._has_news.set()

    def _as_before(self, model: WantedModel) -> WantedModel:
        """What operators want anew keeps the number of replicas that the load has chosen, and the loaded adapters.

        Adapters that are new are wanted once they are loaded.
        """
        before = self.spec.get(model.name)
        kept = keeping_count(model, before)
        return kept if before is None else changed_model(kept, adapters=before.adapters)

    def _num_ready(self, name: str) -> int:
        return sum(info.state is ReplicaState.READY for info in self._members.infos(name))

    def _serving(self, name: str) -> list[ReplicaProcess]:
        return self._members.serving(name)

    def _keep_adapters(self, name: str, adapters: Mapping[str, Path]) -> None:
        model = self.spec.get(name)
        if model is not None:
            self._want(self.spec.replacing(changed_model(model, adapters=dict(adapters))))
            self._save()

    def _start(self, action: StartReplica) -> None:
        model, variant = action.wanted.model, action.wanted.variant
        checkpoint = self._catalog.checkpoint(model, variant.revision)
        assert checkpoint is not None, "what is wanted is known"
        known = KnownReplica(replica_id=action.replica_id, model=model, shape=variant.shape, revision=variant.revision)
        self._members.start(known, checkpoint)

    def _save(self) -> None:
        known = self._members.known
        names = {model.name for model in self.spec.models} | {replica.model for replica in known}
        self._catalog.forget_all_but(names, {(replica.model, replica.revision) for replica in known})
        update = {"replicas": known, "revisions": self._catalog.revisions}
        self._state = self._state.model_copy(update=update)
        if self._state != self._written:
            self._written = self._state
            self._file.write(self._state)
