"""What `penstock adapters` does: it asks the fleet of the local stack."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from penstock.cli.errors import CommandError
from penstock.client.channel import channel_options
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import PenstockError

_ASK_TIMEOUT_S = 5.0
# Weights are read.
_LOAD_TIMEOUT_S = 120.0

_Ask = Callable[[str, Any, float], Any]


def load_adapter(state_dir: StateDir, name: str, directory: Path) -> None:
    """Loads an adapter on all replicas.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet refuses it, or cannot be asked; says why.
    """
    with _fleet(state_dir) as ask:
        ask("LoadAdapter", fleet_pb2.LoadAdapterRequest(name=name, path=str(directory)), _LOAD_TIMEOUT_S)
    print(f"loaded {name}; requests may name it")  # noqa: T201 - the command's result


def unload_adapter(state_dir: StateDir, name: str) -> None:
    """Takes an adapter away from all replicas.

    Raises:
        LocalError: nothing runs.
        CommandError: there is none of that name, or the fleet cannot be asked.
    """
    with _fleet(state_dir) as ask:
        ask("UnloadAdapter", fleet_pb2.UnloadAdapterRequest(name=name), _LOAD_TIMEOUT_S)
    print(f"unloaded {name}; what runs with it is finished")  # noqa: T201 - the command's result


def list_adapters(state_dir: StateDir, *, as_json: bool) -> None:
    """Prints the adapters of all models.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet cannot be asked.
    """
    with _fleet(state_dir) as ask:
        directory = ask("GetFleet", fleet_pb2.GetFleetRequest(), _ASK_TIMEOUT_S).directory
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


@contextmanager
def _fleet(state_dir: StateDir) -> Iterator[_Ask]:
    """Calls methods of the stack's fleet."""
    address = running_stack(state_dir).addresses.fleet
    with grpc.insecure_channel(address, options=channel_options(address)) as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)

        def ask(method: str, request: Any, timeout_s: float) -> Any:
            try:
                metadata = FleetCredential.load(state_dir.credential_file).metadata()
                return getattr(stub, method)(request, timeout=timeout_s, metadata=metadata)
            except grpc.RpcError as error:
                raise CommandError(str(error.details())) from error
            except PenstockError as error:
                raise CommandError(str(error)) from error

        yield ask
