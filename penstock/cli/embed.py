"""`penstock embed`: the vectors of some texts, one line each, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from penstock.cli.gateway import GatewayAccess, explained, gateway_address, open_client
from penstock.cli.telemetry import command_tracer
from penstock.client import EmbedOptions, PenstockError
from penstock.local.paths import StateDir
from penstock.local.record import load_state


@dataclass(frozen=True, slots=True)
class EmbedCommand:
    """What was asked for."""

    texts: Sequence[str]
    options: EmbedOptions
    timeout_s: float


def run_embed(command: EmbedCommand, *, access: GatewayAccess, state_dir: StateDir, as_json: bool) -> None:
    """Asks the gateway of `access`, else that of the local stack, and prints the vectors.

    Raises:
        CommandError: no gateway is there, or it refused.
    """
    state = load_state(state_dir.stack_file)
    target, access = gateway_address(access.address, state), access.trusting(state)
    with command_tracer("penstock embed", state.otlp_endpoint if state else None) as tracer:
        try:
            with open_client(target, access, timeout_s=command.timeout_s, tracer=tracer) as client:
                made = client.embed(command.texts, **command.options)
        except PenstockError as error:
            raise explained(error, target, command.timeout_s) from error
    if as_json:
        print(json.dumps({"embeddings": made.vectors, "usage": asdict(made.usage)}))  # noqa: T201
        return
    for vector in made.vectors:
        print(json.dumps(vector))  # noqa: T201
