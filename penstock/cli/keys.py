"""`penstock keys`: its commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import JsonOption, StateDirOption

KeysFileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="PENSTOCK_GATEWAY_KEYS_FILE",
        help="The key file.  [default: keys.json in the state directory]",
        show_default=False,
    ),
]

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@keys.callback()
def group() -> None:
    """Make, list and revoke API keys. With the first one, the gateway asks every client for a key.

    A running gateway sees a change within a second.
    """


@keys.command()
def create(
    tenant: Annotated[str, typer.Option(help="On whose account its calls go.", show_default=False)],
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="Valid for so long (12h, 30d).  [default: until revoked]")
    ] = None,
    as_json: JsonOption = False,
    keys_file: KeysFileOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept.

    \b
    penstock keys create --tenant acme --name "nightly job" --expires 30d
    export PENSTOCK_API_KEY=$(penstock keys create --tenant acme)
    """
    from penstock.cli.duration import parse_duration
    from penstock.cli.key_commands import create_key
    from penstock.local.paths import StateDir

    try:
        lifetime_s = None if expires is None else parse_duration(expires)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from error
    create_key(
        keys_file or StateDir.at(state_dir).keys_file, tenant=tenant, name=name, lifetime_s=lifetime_s, as_json=as_json
    )


@keys.command("list")
def list_(as_json: JsonOption = False, keys_file: KeysFileOption = None, state_dir: StateDirOption = None) -> None:
    """Show all keys, without their secrets."""
    from penstock.cli.key_commands import list_keys
    from penstock.local.paths import StateDir

    list_keys(keys_file or StateDir.at(state_dir).keys_file, as_json=as_json)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `penstock keys list` shows it.", show_default=False)],
    keys_file: KeysFileOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Revoke a key, for good. Calls that are under way finish."""
    from penstock.cli.key_commands import revoke_key
    from penstock.local.paths import StateDir

    revoke_key(keys_file or StateDir.at(state_dir).keys_file, key_id)
