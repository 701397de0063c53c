"""What `penstock fleet` does: it asks the fleet of the local stack."""

import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.table import Table

from penstock.cli.fleet_calls import ASK_TIMEOUT_S, LOAD_TIMEOUT_S, Ask, fleet_calls
from penstock.cli.fleet_file import read_fleet_file
from penstock.cli.fleet_progress import Patience, state_name, wait_until_settled
from penstock.fleet.v1 import fleet_pb2
from penstock.local.paths import StateDir


def show_fleet(state_dir: StateDir, *, as_json: bool) -> None:
    """Prints what is wanted and what there is.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet cannot be asked.
    """
    with fleet_calls(state_dir) as ask:
        told = ask("GetFleet", fleet_pb2.GetFleetRequest(), ASK_TIMEOUT_S)
    if as_json:
        content = json_format.MessageToDict(
            told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        print(json.dumps(content))  # noqa: T201 - the command's result
    else:
        _draw(told)


def scale_model(state_dir: StateDir, model: str, num_replicas: int, patience: Patience) -> None:
    """Sets how many replicas of a model are wanted; raises as `show_fleet`, and where it is refused or fails."""
    _change(state_dir, "Scale", fleet_pb2.ScaleRequest(model=model, num_replicas=num_replicas), patience)


def drain_replica(state_dir: StateDir, replica_id: str, limit_s: float, patience: Patience) -> None:
    """Replaces a replica; raises as `scale_model`."""
    limit = Duration()
    limit.FromNanoseconds(round(limit_s * 1e9))
    _change(state_dir, "Drain", fleet_pb2.DrainRequest(replica_id=replica_id, limit=limit), patience)


def update_model(state_dir: StateDir, model: str, model_dir: Path, patience: Patience) -> None:
    """Has a model served from another checkpoint; raises as `scale_model`."""
    _change(state_dir, "UpdateModel", fleet_pb2.UpdateModelRequest(model=model, model_dir=str(model_dir)), patience)


def apply_file(state_dir: StateDir, path: Path, patience: Patience) -> None:
    """Sets all that is wanted; raises as `scale_model`, and where the file is wrong."""
    _change(state_dir, "ApplyFleet", fleet_pb2.ApplyFleetRequest(spec=read_fleet_file(path)), patience)


def _change(state_dir: StateDir, method: str, request: Any, patience: Patience) -> None:
    """Calls the fleet, and shows how it goes until it is done."""
    with fleet_calls(state_dir) as ask:
        ask(method, request, LOAD_TIMEOUT_S)
        if patience.is_waiting:
            wait_until_settled(ask, patience, tell=_tell)
        _tell(_summary(ask) if patience.is_waiting else "accepted; see `penstock fleet status`")


def _summary(ask: Ask) -> str:
    told = ask("GetFleet", fleet_pb2.GetFleetRequest(), ASK_TIMEOUT_S)
    counts = ", ".join(f"{each.model} {each.num_ready} of {each.num_wanted} ready" for each in told.progress)
    return f"done: {counts or 'no model is wanted'}"


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's result


def _draw(told: fleet_pb2.GetFleetResponse) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(_models(told), "", _replicas(told))


def _models(told: fleet_pb2.GetFleetResponse) -> Table:
    specs = {model.name: model for model in told.spec.models}
    revisions = {model.name: model.revision[:12] for model in told.directory.models}
    table = _table("model", "ready", "wanted", "min", "max", "revision", "shape", "state")
    for each in told.progress:
        spec = specs.get(each.model, fleet_pb2.WantedModel())
        bounds = (str(spec.min_replicas), str(spec.max_replicas)) if each.model in specs else ("-", "-")
        revision = revisions.get(each.model, "-")
        table.add_row(
            each.model, str(each.num_ready), str(each.num_wanted), *bounds, revision, _shape(spec), _state_of(each)
        )
    return table


def _shape(spec: fleet_pb2.WantedModel) -> str:
    """What is not as it would be by default."""
    parts = []
    if spec.tensor_parallel * spec.pipeline_parallel > 1:
        parts.append(f"tp{spec.tensor_parallel}.pp{spec.pipeline_parallel}")
    parts += [value for value in (spec.dtype, spec.quantize) if value not in ("", "auto", "none")]
    if spec.HasField("autoscale"):
        parts.append("autoscale")
    return " ".join(parts) or "-"


def _state_of(progress: fleet_pb2.ModelProgress) -> str:
    if progress.is_settled:
        return "as wanted"
    if progress.problem:
        return progress.problem
    return f"under way, {progress.num_outdated} to go" if progress.num_outdated else "under way"


def _replicas(told: fleet_pb2.GetFleetResponse) -> Table:
    table = _table("replica", "state", "revision", "address", "pid", "restarts", "detail")
    for each in sorted(told.directory.replicas, key=lambda replica: replica.replica_id):
        cells = (each.revision[:12], each.address, str(each.pid or ""), str(each.num_restarts), each.detail)
        table.add_row(each.replica_id, state_name(each), *(cell or "-" for cell in cells))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
