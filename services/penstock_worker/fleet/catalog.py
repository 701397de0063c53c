"""What the fleet knows of the checkpoints of its models: their specifications, by revision, and their adapters."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from penstock_shared.directory import ModelSpec
from penstock_shared.errors import InvalidArgumentError, NotFoundError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.adapters import FleetAdapters
from penstock_worker.fleet.checkpoint import inspect_adapter, inspect_checkpoint
from penstock_worker.fleet.reconcile import Variant, WantedReplicas
from penstock_worker.fleet.spec import FleetSpec, WantedModel
from penstock_worker.fleet.supervisor import ReplicaProcess


class FleetCatalog:
    """Models by name, each with the revision that is wanted and those that replicas still have.

    Args:
        serving: the replicas of a model that serve now.
        keep: told of a model's adapters, by name and directory, when these have changed.
        on_change: called when `specification` has changed.
    """

    def __init__(
        self,
        *,
        serving: Callable[[str], Sequence[ReplicaProcess]],
        keep: Callable[[str, Mapping[str, Path]], None],
        on_change: Callable[[], None],
    ) -> None:
        self._serving = serving
        self._keep = keep
        self._on_change = on_change
        self._specs: dict[tuple[str, str], ModelSpec] = {}
        self._wanted_revisions: dict[str, str] = {}
        self._adapters: dict[str, FleetAdapters] = {}
        self._log = get_logger("fleet")

    @property
    def revisions(self) -> tuple[ModelSpec, ...]:
        """All that are known, for the state file."""
        return tuple(self._specs.values())

    def remember(self, revisions: Sequence[ModelSpec]) -> None:
        """Takes over those that an earlier fleet knew."""
        self._specs |= {(spec.name, spec.revision): spec for spec in revisions}

    async def check(self, model: WantedModel, *, field: str) -> ModelSpec:
        """The specification of a model's checkpoint, which its adapters fit.

        Raises:
            InvalidArgumentError: it cannot be served, or an adapter is none for it; names what is below `field`.
        """
        try:
            spec = await asyncio.to_thread(inspect_checkpoint, model.model_dir, model.name)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                f"{field}.model_dir", str(model.model_dir), f"a checkpoint that can be served ({error.message})"
            ) from None
        for name, path in model.adapters.items():
            await asyncio.to_thread(inspect_adapter, path, name, model.model_dir)
        return spec

    async def find(self, model: WantedModel) -> ModelSpec:
        """As `check`, when the fleet starts anew: replicas may live on although their checkpoint cannot be read now.

        Raises:
            InvalidArgumentError: it cannot be read, and was not known before.
        """
        try:
            return await asyncio.to_thread(inspect_checkpoint, model.model_dir, model.name)
        except InvalidArgumentError as error:
            self._log.error("a checkpoint cannot be read", model=model.name, reason=error.message)
            known = [spec for (name, _), spec in self._specs.items() if name == model.name]
            if not known:
                raise
            return known[-1]

    async def prepare_adapters(self, model: WantedModel) -> FleetAdapters:
        """Those that the model has; or, of one that is new, those that it is to have."""
        known = self._adapters.get(model.name)
        if known is not None:
            return known
        adapters = FleetAdapters(
            model_dir=model.model_dir,
            wanted=model.adapters,
            serving=partial(self._serving, model.name),
            keep=partial(self._keep, model.name),
            publish=self._on_change,
        )
        await adapters.restore()
        return adapters

    def put(self, model: WantedModel, spec: ModelSpec, adapters: FleetAdapters) -> None:
        """A model is wanted, from this checkpoint."""
        self._specs[model.name, spec.revision] = spec
        self._wanted_revisions[model.name] = spec.revision
        self._adapters[model.name] = adapters
        adapters.move(model.model_dir)

    def wanted(self, spec: FleetSpec) -> list[WantedReplicas]:
        """What is to run."""
        return [
            WantedReplicas(model.name, model.replicas, Variant(model.shape, self._wanted_revisions[model.name]))
            for model in spec.models
        ]

    def specification(self, name: str, revision: str) -> ModelSpec:
        """Of a revision, with the adapters that requests may name now."""
        return replace(self._specs[name, revision], adapters=self._adapters[name].specs)

    def checkpoint(self, name: str, revision: str) -> ModelSpec | None:
        """Of a revision, as its checkpoint has it; None for one that is not known."""
        return self._specs.get((name, revision))

    def adapters(self, name: str) -> FleetAdapters:
        """Those of a model; of the only one, where the name is empty.

        Raises:
            NotFoundError: no such model.
            InvalidArgumentError: there are several, and none is named.
        """
        if not name and len(self._adapters) != 1:
            raise InvalidArgumentError("model", name, f"one of {', '.join(sorted(self._adapters))}")
        found = self._adapters.get(name or next(iter(self._adapters)))
        if found is None:
            raise NotFoundError("model", name, self._adapters)
        return found

    async def prepare(self, name: str, process: ReplicaProcess) -> None:
        """See `FleetAdapters.bring`."""
        if name in self._adapters:
            await self._adapters[name].bring(process)

    def forget_all_but(self, models: Collection[str], revisions: Collection[tuple[str, str]]) -> None:
        """Forgets models that are neither wanted nor run any more, and revisions that no replica has.

        Args:
            models: names of those that are kept.
            revisions: models and revisions that replicas have.
        """
        for name in [name for name in self._adapters if name not in models]:
            del self._adapters[name], self._wanted_revisions[name]
        used = set(revisions) | set(self._wanted_revisions.items())
        self._specs = {key: spec for key, spec in self._specs.items() if key in used}
