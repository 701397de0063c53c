"""`penstock keys`: its commands and their options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import JsonOption, StateDirOption

if TYPE_CHECKING:
    from penstock.cli.key_commands import KeyFiles

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

    try:
        lifetime_s = None if expires is None else parse_duration(expires)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from error
    create_key(_files(keys_file, state_dir), tenant=tenant, name=name, lifetime_s=lifetime_s, as_json=as_json)


@keys.command("list")
def list_(as_json: JsonOption = False, keys_file: KeysFileOption = None, state_dir: StateDirOption = None) -> None:
    """Show all keys, without their secrets."""
    from penstock.cli.key_commands import list_keys

    list_keys(_files(keys_file, state_dir), as_json=as_json)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `penstock keys list` shows it.", show_default=False)],
    keys_file: KeysFileOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Revoke a key, for good. Calls that are under way finish."""
    from penstock.cli.key_commands import revoke_key

    revoke_key(_files(keys_file, state_dir), key_id)


def _files(keys_file: Path | None, state_dir: Path | None) -> "KeyFiles":
    from penstock.cli.key_commands import KeyFiles
    from penstock.local.paths import StateDir

    state = StateDir.at(state_dir)
    return KeyFiles(keys_file or state.keys_file, state.audit_file)
