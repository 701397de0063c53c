"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="PENSTOCK_STATE_DIR",
        help="Where the stack keeps its record, logs and secret.  [default: ~/.local/state/penstock]",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        envvar="PENSTOCK_ADDRESS",
        help="host:port of a gateway.  [default: the local stack's, else 127.0.0.1:50051]",
    ),
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        envvar="PENSTOCK_API_KEY",
        help="Shows who you are, where the gateway asks; the variable keeps it out of the process list.",
        show_default=False,
    ),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Let the key go unencrypted to another machine's gateway.")
]
TlsCaOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PENSTOCK_TLS_CA",
        help="Speak TLS and trust these certificates (PEM).  [default: the local stack's]",
        show_default=False,
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option(envvar="PENSTOCK_TLS_CERT", help="Your certificate (PEM), where the gateway asks."),
]
TlsKeyOption = Annotated[Path | None, typer.Option(envvar="PENSTOCK_TLS_KEY", help="Its key (PEM, not encrypted).")]
TlsServerNameOption = Annotated[
    str | None,
    typer.Option(
        envvar="PENSTOCK_TLS_SERVER_NAME", help="The name in the gateway's certificate, where it is not the address."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
