"""Runs a stack in this process, from the state directory's lock to the last process gone."""

import asyncio
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.local.descendants import become_subreaper
from penstock.local.errors import LocalError
from penstock.local.leftovers import end_leftovers
from penstock.local.log_file import rotate
from penstock.local.paths import StateDir
from penstock.local.plan import Addresses, ProcessSpec, plan
from penstock.local.ports import resolve_ports
from penstock.local.process_id import ProcessId
from penstock.local.record import ForeignStack, load_record, save_state
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, StackState
from penstock.local.supervisor import Supervisor
from penstock_shared.credentials import FleetCredential
from penstock_shared.logs import get_logger

Report = Callable[[StackState], None]


def run_stack(settings: StackSettings, report: Report) -> None:
    """Runs the stack until SIGTERM or SIGINT, and drains it. This process must have no other children.

    Args:
        settings: what to run.
        report: told each new state, after it stands in `stack.json`.

    Raises:
        LocalError: it could not start, or already runs; nothing that was started is left.
    """
    state_dir = StateDir(settings.state_dir)
    state_dir.create()
    with _lock(state_dir):
        end_leftovers(state_dir)
        addresses = Addresses.on_loopback(resolve_ports(settings.ports, random.Random()))  # noqa: S311 - no secret
        become_subreaper()
        try:
            asyncio.run(_supervise(settings, state_dir, addresses, report))
        finally:
            state_dir.stack_file.unlink(missing_ok=True)


async def _supervise(settings: StackSettings, state_dir: StateDir, addresses: Addresses, report: Report) -> None:
    specs, state = plan(settings, addresses), _first_state(settings, addresses)
    credential = _prepare(state_dir, specs, state)

    def publish(state: StackState) -> None:
        try:
            save_state(state_dir.stack_file, state)
        except OSError as error:  # the stack goes on: what it does matters more than what is told of it
            get_logger("supervisor").warning("stack.json is out of date", reason=error.strerror)
        report(state)

    supervisor = Supervisor(
        specs,
        state,
        state_dir=state_dir,
        credential=credential,
        report=publish,
        start_timeout_s=settings.start_timeout_s,
    )
    await supervisor.run()


def _prepare(state_dir: StateDir, specs: tuple[ProcessSpec, ...], state: StackState) -> FleetCredential:
    """Writes what must be there before anything starts."""
    try:
        for spec in specs:
            rotate(state_dir.log_file(spec.name))
        save_state(state_dir.stack_file, state)
        return FleetCredential.create(state_dir.credential_file)
    except OSError as error:
        raise state_dir.unwritable(error) from error


def _first_state(settings: StackSettings, addresses: Addresses) -> StackState:
    this_process = ProcessId.of(os.getpid())
    assert this_process is not None
    return StackState(
        phase=Phase.STARTING,
        supervisor=this_process,
        started_at=time.time(),
        model_name=settings.model_name,
        model_dir=str(settings.model_dir),
        num_replicas=settings.num_replicas,
        addresses=addresses,
        tls_cert=None if settings.tls_cert is None else str(settings.tls_cert),
        otlp_endpoint=settings.otlp_endpoint,
    )


@contextmanager
def _lock(state_dir: StateDir) -> Iterator[None]:
    with state_dir.lock_file.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(_already_runs(state_dir)) from None
        yield


def _already_runs(state_dir: StateDir) -> str:
    record = load_record(state_dir.stack_file)
    what, who = "a stack", ""
    if isinstance(record, ForeignStack):
        what, who = str(record), f" (pid {record.supervisor.pid})"
    elif record is not None:
        who = f" (pid {record.supervisor.pid}, gateway at {record.addresses.gateway})"
    return (
        f"{what} already runs from {state_dir.path}{who}; "
        "stop it with `penstock down`, or choose another --state-dir and other ports"
    )
