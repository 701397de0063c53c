"""`penstock down`: drains and stops the stack."""

import time
from contextlib import nullcontext

from rich.console import Console

from penstock.local.control import stop_stack
from penstock.local.paths import StateDir


def run_down(state_dir: StateDir, *, timeout_s: float) -> None:
    """Stops what runs from `state_dir` and says what that was. That nothing ran is no error."""
    console = Console(soft_wrap=True, highlight=False)
    began = time.monotonic()
    with console.status("draining") if console.is_terminal else nullcontext():
        stopped = stop_stack(state_dir, timeout_s=timeout_s)
    if not stopped:
        console.print(f"nothing was running from {state_dir.path}")
        return
    console.print(f"stopped {', '.join(stopped)} in {time.monotonic() - began:.1f} s")
