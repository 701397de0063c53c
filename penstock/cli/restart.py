"""`penstock restart`: one service drained and started again, while the others go on."""

import time
from contextlib import nullcontext

from rich.console import Console

from penstock.local.control import restart_service
from penstock.local.paths import StateDir
from penstock.local.state import ServiceState


def run_restart(state_dir: StateDir, service: str, *, timeout_s: float) -> None:
    """Restarts a service of the stack of `state_dir`, and shows what runs now.

    Raises:
        LocalError: it cannot be restarted, or does not come back.
    """
    console = Console(soft_wrap=True, highlight=False)
    began = time.monotonic()
    with console.status(f"restarting {service}") if console.is_terminal else nullcontext():
        before, after = restart_service(state_dir, service, timeout_s=timeout_s)
    seconds = time.monotonic() - began
    console.print(f"restarted {service} in {seconds:.1f} s: pid {_pid(before)} -> {_pid(after)}, at {after.address}")


def _pid(service: ServiceState) -> str:
    return str(service.process.pid) if service.process else "-"
