"""The state that a fleet starts with: that of the settings, or the one saved by the last fleet of these settings."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.checkpoint import inspect_adapter, inspect_checkpoint
from penstock_worker.fleet.spec import FleetSpec, WantedModel, changed_model, parse_spec
from penstock_worker.fleet.state_file import FleetState, StateFile
from penstock_worker.settings import WorkerSettings

# Of the settings: what says which replicas there are to be.
_SETTINGS_OF_SPEC = (
    "model_dir",
    "model_name",
    "replicas",
    "tensor_parallel",
    "pipeline_parallel",
    "device",
    "dtype",
    "quantize",
    "threads_per_replica",
)


def prepare_state(settings: WorkerSettings) -> None:
    """Writes the state that the fleet is to start with, before it does.

    Settings that are the last start's change nothing that was wanted since; others begin anew, and only adapters that
    were loaded by hand, and are still there, are taken over. Those that the settings name are added. A model that was
    scaled to nothing by hand has the replicas of the settings again: whoever starts a fleet wants it to serve.

    Raises:
        InvalidArgumentError: a checkpoint, or an adapter that the settings name, is not there or cannot be served.
    """
    file = StateFile.within(settings.state_dir)
    saved = file.read()
    digest = _digest(settings)
    if saved.settings_digest == digest and saved.spec.models:
        spec = _with_replicas(FleetSpec(models=tuple(_usable(saved.spec))), settings)
    else:
        spec = _spec_of(settings, saved.spec.get(settings.model_name))
    spec = _with_adapters(spec, settings)
    # A private Ray is gone with its replicas.
    replicas = saved.replicas if settings.ray_address is not None else ()
    revisions = saved.revisions if replicas else ()
    file.write(FleetState(settings_digest=digest, spec=spec, replicas=replicas, revisions=revisions))


def _digest(settings: WorkerSettings) -> str:
    values = [str(getattr(settings, name)) for name in _SETTINGS_OF_SPEC]
    return hashlib.sha256("\0".join(values).encode()).hexdigest()


def _spec_of(settings: WorkerSettings, before: WantedModel | None) -> FleetSpec:
    """One model. It keeps the adapters that it had, where they fit."""
    inspect_checkpoint(settings.model_dir, settings.model_name)
    wanted = {
        "name": settings.model_name,
        "model_dir": settings.model_dir,
        "replicas": settings.replicas,
        "tensor_parallel": settings.tensor_parallel,
        "pipeline_parallel": settings.pipeline_parallel,
        "device": settings.device,
        "dtype": settings.dtype,
        "quantize": settings.quantize,
        "threads": settings.num_threads,
        "adapters": {} if before is None else _fitting(before.adapters, settings.model_dir),
    }
    return parse_spec({"models": [wanted]})


def _with_replicas(spec: FleetSpec, settings: WorkerSettings) -> FleetSpec:
    model = spec.get(settings.model_name)
    if model is None or model.replicas or model.autoscale is not None:
        return spec
    return spec.replacing(changed_model(model, replicas=min(settings.replicas, model.max_replicas)))


def _usable(spec: FleetSpec) -> list[WantedModel]:
    """The models whose checkpoints can be served.

    Raises:
        InvalidArgumentError: there is none.
    """
    found, failure = [], None
    for model in spec.models:
        try:
            inspect_checkpoint(model.model_dir, model.name)
        except PenstockError as error:
            failure = error
            get_logger("fleet").error("a model is left out", model=model.name, reason=error.message)
        else:
            found.append(changed_model(model, adapters=_fitting(model.adapters, model.model_dir)))
    if failure is not None and not found:
        raise failure
    return found


def _with_adapters(spec: FleetSpec, settings: WorkerSettings) -> FleetSpec:
    model = spec.get(settings.model_name)
    asked = _asked(settings)
    if model is None or not asked:
        return spec
    for name, path in asked.items():
        inspect_adapter(path, name, model.model_dir)
    return spec.replacing(changed_model(model, adapters=dict(model.adapters) | asked))


def _asked(settings: WorkerSettings) -> dict[str, Path]:
    found = {}
    if settings.adapters_dir is not None:
        configs = sorted(settings.adapters_dir.glob("*/adapter_config.json"))
        found = {path.parent.name: path.parent.absolute() for path in configs}
    return found | {name: path.absolute() for name, path in settings.adapters.items()}


def _fitting(adapters: Mapping[str, Path], model_dir: Path) -> dict[str, Path]:
    return {name: path for name, path in adapters.items() if _fits(path, name, model_dir)}


def _fits(path: Path, name: str, model_dir: Path) -> bool:
    try:
        inspect_adapter(path, name, model_dir)
    except PenstockError as error:
        get_logger("fleet").warning("an adapter is left out", adapter=name, reason=str(error))
        return False
    return True
