"""`penstock fleet`: its commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import JsonOption, StateDirOption

fleet = typer.Typer(no_args_is_help=True, help="Show and change which models are served, and by how many replicas.")

ModelArgument = Annotated[str, typer.Argument(help="What requests call it.", show_default=False)]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Return at once; the fleet goes on.")]
TimeoutOption = Annotated[
    float, typer.Option(min=1, help="Wait no longer than this, in seconds; the fleet goes on all the same.")
]


@fleet.callback()
def group() -> None:
    """Show and change which models a local stack serves, and by how many replicas.

    What is wanted is kept: the fleet brings it about, and again after restarts. The commands show how it goes and
    return when it is done; Ctrl-C leaves the fleet at it.

    \b
    penstock fleet status
    penstock fleet scale pocket 3
    penstock fleet update pocket --model-dir ~/models/pocket-2
    penstock fleet apply fleet.yaml
    """


@fleet.command()
def status(as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """Show what is wanted, how far that is reached, and each replica."""
    from penstock.cli.fleet_commands import show_fleet
    from penstock.local.paths import StateDir

    show_fleet(StateDir.at(state_dir), as_json=as_json)


@fleet.command()
def scale(
    model: ModelArgument,
    replicas: Annotated[int, typer.Argument(min=0, help="How many are wanted.", show_default=False)],
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 600.0,
    state_dir: StateDirOption = None,
) -> None:
    """Set how many replicas serve a model. Those that are too many finish their work first.

    \b
    penstock fleet scale pocket 3
    """
    from penstock.cli.fleet_commands import scale_model
    from penstock.cli.fleet_progress import Patience
    from penstock.local.paths import StateDir

    scale_model(StateDir.at(state_dir), model, replicas, Patience(timeout, is_waiting=not no_wait))


@fleet.command()
def drain(
    replica: Annotated[str, typer.Argument(help="As in `penstock fleet status`.", show_default=False)],
    limit: Annotated[
        str, typer.Option(help="What it has not finished by then is resumed by others, as 30s or 5m.")
    ] = "10m",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 600.0,
    state_dir: StateDirOption = None,
) -> None:
    """Replace a replica: when another one is ready in its place, it finishes its work and goes.

    \b
    penstock fleet drain pocket-0
    To have fewer replicas: penstock fleet scale
    """
    from penstock.cli.duration import parse_duration
    from penstock.cli.fleet_commands import drain_replica
    from penstock.cli.fleet_progress import Patience
    from penstock.local.paths import StateDir

    try:
        limit_s = parse_duration(limit)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--limit") from None
    drain_replica(StateDir.at(state_dir), replica, limit_s, Patience(timeout, is_waiting=not no_wait))


@fleet.command()
def update(
    model: ModelArgument,
    model_dir: Annotated[Path, typer.Option(help="Directory of the checkpoint to serve.", show_default=False)],
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 600.0,
    state_dir: StateDirOption = None,
) -> None:
    """Serve a model from another checkpoint, replica by replica, without failing a request.

    Each old replica goes when a new one is ready in its place. Where a new one cannot load, the old ones serve on; the
    same command with the old directory goes back.

    \b
    penstock fleet update pocket --model-dir ~/models/pocket-2
    """
    from penstock.cli.fleet_commands import update_model
    from penstock.cli.fleet_progress import Patience
    from penstock.local.paths import StateDir

    directory = model_dir.expanduser().absolute()
    update_model(StateDir.at(state_dir), model, directory, Patience(timeout, is_waiting=not no_wait))


@fleet.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML or JSON.", show_default=False)],
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 600.0,
    state_dir: StateDirOption = None,
) -> None:
    """Set all that is wanted, from a file. Models that it does not name are drained and removed.

    \b
    models:
      - name: pocket
        model_dir: models/pocket        # from the file's own directory, or absolute
        replicas: 2
      - name: qwen
        model_dir: ~/models/Qwen2.5-0.5B-Instruct
        quantize: int8                  # none, int8, int4
        min_replicas: 0                 # may be without any; the first request starts one
        max_replicas: 3
        autoscale: {target_sequences: 16, down_window: 60s}
    \b
    Further fields: dtype, device, threads, tensor_parallel, pipeline_parallel, adapters (name: directory).
    """
    from penstock.cli.fleet_commands import apply_file
    from penstock.cli.fleet_progress import Patience
    from penstock.local.paths import StateDir

    apply_file(StateDir.at(state_dir), file, Patience(timeout, is_waiting=not no_wait))
