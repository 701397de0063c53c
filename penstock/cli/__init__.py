"""The `penstock` command line. `main` holds the commands, one module beside it does the work of each."""

from importlib.util import find_spec

# A client's install (no extras) has the command, but not what it runs on.
if find_spec("typer") is None:
    raise SystemExit(
        "error: the command line is not installed, only the client; in Penstock's directory: pip install '.[cli]'"
    )
