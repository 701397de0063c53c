"""What `penstock adapters` does: it asks the fleet of the local stack."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from penstock.cli.fleet_calls import ASK_TIMEOUT_S, LOAD_TIMEOUT_S, fleet_calls
from penstock.fleet.v1 import fleet_pb2
from penstock.local.paths import StateDir


def load_adapter(state_dir: StateDir, name: str, directory: Path) -> None:
    """Loads an adapter on all replicas.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet refuses it, or cannot be asked; says why.
    """
    with fleet_calls(state_dir) as ask:
        ask("LoadAdapter", fleet_pb2.LoadAdapterRequest(name=name, path=str(directory)), LOAD_TIMEOUT_S)
    print(f"loaded {name}; requests may name it")  # noqa: T201 - the command's result


def unload_adapter(state_dir: StateDir, name: str) -> None:
    """Takes an adapter away from all replicas.

    Raises:
        LocalError: nothing runs.
        CommandError: there is none of that name, or the fleet cannot be asked.
    """
    with fleet_calls(state_dir) as ask:
        ask("UnloadAdapter", fleet_pb2.UnloadAdapterRequest(name=name), LOAD_TIMEOUT_S)
    print(f"unloaded {name}; what runs with it is finished")  # noqa: T201 - the command's result


def list_adapters(state_dir: StateDir, *, as_json: bool) -> None:
    """Prints the adapters of all models.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet cannot be asked.
    """
    with fleet_calls(state_dir) as ask:
        directory = ask("GetFleet", fleet_pb2.GetFleetRequest(), ASK_TIMEOUT_S).directory
    found = [
        {"name": each.name, "model": model.name, "revision": each.revision}
        for model in directory.models
        for each in model.adapters
    ]
    if as_json:
        print(json.dumps(found))  # noqa: T201 - the command's result
    elif found:
        table = Table("name", "model", "revision", box=None, pad_edge=False)
        for each in found:
            table.add_row(each["name"], each["model"], each["revision"][:12])
        Console(highlight=False).print(table)
    else:
        print("no adapters")  # noqa: T201 - the command's result
