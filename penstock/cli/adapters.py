"""`penstock adapters`: its commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import JsonOption, StateDirOption

adapters = typer.Typer(no_args_is_help=True, help="Load, list and unload LoRA adapters of the served model.")

NameArgument = Annotated[str, typer.Argument(help="What requests call it.", show_default=False)]


@adapters.callback()
def group() -> None:
    """Load, list and unload LoRA adapters of the model that a local stack serves.

    They are added to the model for the requests that name them; the others are answered by the model as it is.
    """


@adapters.command()
def load(
    name: NameArgument,
    directory: Annotated[
        Path, typer.Argument(help="Holds adapter_config.json and adapter_model.safetensors.", show_default=False)
    ],
    state_dir: StateDirOption = None,
) -> None:
    """Load an adapter on every replica, those that start later included.

    \b
    penstock adapters load law ~/adapters/law
    penstock generate "May I park here?" --adapter law
    """
    from penstock.cli.adapter_commands import load_adapter
    from penstock.local.paths import StateDir

    load_adapter(StateDir.at(state_dir), name, directory.expanduser().absolute())


@adapters.command()
def unload(name: NameArgument, state_dir: StateDirOption = None) -> None:
    """Take an adapter away. What runs with it is finished, new requests that name it are refused."""
    from penstock.cli.adapter_commands import unload_adapter
    from penstock.local.paths import StateDir

    unload_adapter(StateDir.at(state_dir), name)


@adapters.command("list")
def list_(as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """Show the loaded adapters."""
    from penstock.cli.adapter_commands import list_adapters
    from penstock.local.paths import StateDir

    list_adapters(StateDir.at(state_dir), as_json=as_json)
