"""Ends what a dead service left behind, such as the daemons that it had started.

The supervisor is a subreaper: whatever loses its parent below it becomes its child.
"""

import os

import psutil

from penstock.local.plan import SERVICE_VARIABLE


def end_orphans(service: str | None) -> list[int]:
    """Kills and reaps the orphans of `service`, which has ended, until there are none.

    None means all children of this process: for when every service has ended.

    Returns:
        The pids that were ended.
    """
    ended: list[int] = []
    while orphans := [child for child in psutil.Process().children() if _belongs(child, service)]:
        for orphan in orphans:
            orphan.kill()
            _reap(orphan.pid)
            ended.append(orphan.pid)
    return ended


def _belongs(process: psutil.Process, service: str | None) -> bool:
    if service is None:
        return True
    try:
        return process.environ().get(SERVICE_VARIABLE) == service
    except psutil.Error:  # gone, or a zombie: reaped with the rest at the end
        return False


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
