"""Watches the processes of a Ray that was started here: without them, replicas are neither placed nor restarted."""

import asyncio

import psutil

from penstock_shared.errors import UnavailableError

# The control store and the node's own daemon. Ray itself notices the loss of either after 15 s to a minute, or never.
_NAMES = ("gcs_server", "raylet")
_PERIOD_S = 0.5


async def wait_for_ray_death() -> None:
    """Never returns. A Ray that was started elsewhere is not watched.

    Raises:
        UnavailableError: a process of this Ray has ended; says which.
    """
    watched = [(child, child.name()) for child in psutil.Process().children() if child.name() in _NAMES]
    while True:
        for process, name in watched:
            if not _is_alive(process):
                raise UnavailableError(
                    f"Ray's {name} (pid {process.pid}) died; a new start of the worker makes a new Ray"
                )
        await asyncio.sleep(_PERIOD_S)


def _is_alive(process: psutil.Process) -> bool:
    """Its parent may not have reaped it: then it is still listed."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
