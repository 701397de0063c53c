"""`penstock up`: starts a stack, shows how it comes up, and says what to try."""

import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from penstock.cli.errors import FAILED, CommandError
from penstock.cli.start_view import StartView
from penstock.local.control import start_detached
from penstock.local.deaths import DeathWatch
from penstock.local.paths import StateDir
from penstock.local.run import run_stack
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, StackState
from penstock_shared.logs import configure_logging


def run_up(settings: StackSettings, *, detach: bool) -> None:
    """Starts the stack; in the foreground, stays until it has been drained.

    Raises:
        LocalError: it could not start; nothing is left running.
        CommandError: the environment asks for what it cannot do, or it was interrupted before it could serve.
    """
    _refuse_inner_tls()
    configure_logging("supervisor", "warning", as_json=False)
    console = Console(soft_wrap=True)
    progress = _Progress(console, settings, detach=detach)
    try:
        (start_detached if detach else run_stack)(settings, progress.take)
    finally:
        progress.close()
    if not progress.was_ready:
        raise CommandError("interrupted before it could serve; everything is stopped again", FAILED)
    if not detach:
        console.print("stopped")


def _refuse_inner_tls() -> None:
    """The services would take it over, and nobody here could ask them whether they can serve."""
    found = sorted(name for name in os.environ if name.startswith("PENSTOCK_INNER_TLS_"))
    if found:
        raise CommandError(
            f"{found[0]} is set; the parts of `penstock up` speak plaintext, on loopback: unset it", FAILED
        )


class _Progress:
    """What the operator sees of the states that the supervisor tells."""

    def __init__(self, console: Console, settings: StackSettings, *, detach: bool) -> None:
        self._console = console
        self._settings = settings
        self._detach = detach
        self._view = StartView(console)
        self._deaths = DeathWatch()
        self.was_ready = False

    def take(self, state: StackState) -> None:
        if state.phase is Phase.STARTING:
            self._view.update(state)
        elif state.phase is Phase.READY:
            self._take_ready(state)
        elif state.phase is Phase.DRAINING:
            self._view.close()

    def close(self) -> None:
        self._view.close()

    def _take_ready(self, state: StackState) -> None:
        if not self.was_ready:
            self.was_ready = True
            self._view.update(state)
            self._view.close()
            self._console.print(welcome(state, self._settings, detached=self._detach), highlight=False)
        for line in self._deaths.take(state):
            self._console.print(line, highlight=False)


def welcome(state: StackState, settings: StackSettings, *, detached: bool) -> str:
    """What runs where, and what to try next."""
    state_dir = StateDir(settings.state_dir)
    option = "" if state_dir == StateDir.at(None) else f" --state-dir {state_dir.path}"
    seconds = time.time() - state.started_at
    replicas = "1 replica" if state.num_replicas == 1 else f"{state.num_replicas} replicas"
    addresses = state.addresses
    penstock = _command()
    ending = f"{penstock} down{option}" if detached else "Ctrl-C"
    return f"""
Ready after {seconds:.1f} s: model {state.model_name}, {replicas}.

  gateway  {addresses.gateway}  gRPC{", TLS" if state.tls_cert else ""}, for clients
  http     http://{addresses.http}  /healthz, /metrics
  admin    {addresses.admin}  gRPC, for operators
  logs     {state_dir.logs}

{_doors(settings, penstock, option)}

Try:
  {penstock} generate "What is the capital of France?"{option}
  {penstock} status{option}
Stop it: {ending}"""


def _command() -> str:
    """How a shell finds this command line: by its name, else (a venv that is not active) by the path that was typed."""
    typed = Path(sys.argv[0])
    return "penstock" if typed.name != "penstock" or shutil.which("penstock") else shlex.quote(str(typed))


def _doors(settings: StackSettings, penstock: str, option: str) -> str:
    keys_file = Path(os.environ.get("PENSTOCK_GATEWAY_KEYS_FILE") or StateDir(settings.state_dir).keys_file)
    if keys_file.exists() or os.environ.get("PENSTOCK_GATEWAY_JWKS_FILE") or settings.tls_client_ca:
        return f"Clients must show who they are. Make a key: {penstock} keys create --tenant NAME{option}"
    return (
        "It listens on this machine only (loopback) and lets everybody on it in.\n"
        f"Ask for keys instead: {penstock} keys create --tenant NAME{option}"
    )
