"""The messages of `fleet.v1` about what is wanted, from and to plain values."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from penstock.fleet.v1 import fleet_pb2
from penstock_shared.directory import RevisionKey
from penstock_worker.fleet.demand import Demand
from penstock_worker.fleet.progress import ModelProgress
from penstock_worker.fleet.spec import Autoscale, FleetSpec, WantedModel, parse_spec

_OPTIONAL = (
    "replicas",
    "min_replicas",
    "max_replicas",
    "tensor_parallel",
    "pipeline_parallel",
    "device",
    "dtype",
    "quantize",
    "threads",
)
_TARGETS = ("target_sequences", "target_queued_tokens")
_DURATIONS = ("target_wait", "up_window", "down_window", "idle_window")


def spec_from_proto(message: fleet_pb2.FleetSpec) -> FleetSpec:
    """What is wanted.

    Raises:
        InvalidArgumentError: a field is out of its range; says which.
    """
    return parse_spec({"models": [_given_by(model) for model in message.models]})


def spec_to_proto(spec: FleetSpec) -> fleet_pb2.FleetSpec:
    """The reverse of `spec_from_proto`."""
    return fleet_pb2.FleetSpec(models=[_model_to_proto(model) for model in spec.models])


def progress_to_proto(progress: ModelProgress) -> fleet_pb2.ModelProgress:
    """How far what is wanted of a model is reached."""
    return fleet_pb2.ModelProgress(
        model=progress.model,
        num_wanted=progress.num_wanted,
        num_ready=progress.num_ready,
        num_outdated=progress.num_outdated,
        is_settled=progress.is_settled,
        problem=progress.problem,
    )


def demand_from_proto(messages: Iterable[fleet_pb2.RevisionDemand]) -> dict[RevisionKey, Demand]:
    """What a gateway has to do, by model and revision."""
    return {
        (message.model, message.revision): Demand(
            num_requests=message.num_requests,
            num_running=message.num_running,
            num_waiting=message.num_waiting,
            num_waiting_tokens=message.num_waiting_tokens,
            predicted_wait_s=seconds_of(message.predicted_wait),
            placed_per_s=message.placed_per_second,
        )
        for message in messages
    }


def duration_of(seconds: float) -> Duration:
    """Seconds as a message."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def seconds_of(duration: Duration) -> float:
    """The reverse of `duration_of`."""
    return duration.seconds + duration.nanos / 1e9


def _given_by(message: fleet_pb2.WantedModel) -> dict[str, Any]:
    given = _set_fields(message, _OPTIONAL) | {
        "name": message.name,
        "model_dir": Path(message.model_dir),
        "adapters": {name: Path(path) for name, path in message.adapters.items()},
    }
    if message.HasField("autoscale"):
        times = _set_fields(message.autoscale, _DURATIONS)
        given["autoscale"] = _set_fields(message.autoscale, _TARGETS) | {
            f"{name}_s": seconds_of(value) for name, value in times.items()
        }
    return given


def _set_fields(message: Message, names: Collection[str]) -> dict[str, Any]:
    """Those of the named fields that the message has."""
    return {field.name: value for field, value in message.ListFields() if field.name in names}


def _model_to_proto(model: WantedModel) -> fleet_pb2.WantedModel:
    return fleet_pb2.WantedModel(
        name=model.name,
        model_dir=str(model.model_dir),
        adapters={name: str(path) for name, path in model.adapters.items()},
        autoscale=None if model.autoscale is None else _autoscale_to_proto(model.autoscale),
        **{name: getattr(model, name) for name in _OPTIONAL},
    )


def _autoscale_to_proto(autoscale: Autoscale) -> fleet_pb2.Autoscale:
    return fleet_pb2.Autoscale(
        target_sequences=autoscale.target_sequences,
        target_queued_tokens=autoscale.target_queued_tokens,
        target_wait=duration_of(autoscale.target_wait_s),
        up_window=duration_of(autoscale.up_window_s),
        down_window=duration_of(autoscale.down_window_s),
        idle_window=duration_of(autoscale.idle_window_s),
    )
