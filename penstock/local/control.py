"""From outside of a stack: starting it detached, finding the one that runs, stopping it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable

from penstock.local.errors import LocalError, NotRunningError
from penstock.local.leftovers import end_leftovers
from penstock.local.paths import StateDir
from penstock.local.record import ForeignStack, load_record
from penstock.local.requests import ask_restart
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, ServiceState, StackState

SUPERVISOR_LOG = "supervisor"
PROBLEM = "problem"


def start_detached(settings: StackSettings, report: Callable[[StackState], None]) -> None:
    """Starts the stack in a session of its own and returns when it can serve.

    Args:
        settings: what to run.
        report: told each new state until then.

    Raises:
        LocalError: it could not start; nothing is left running.
    """
    state_dir = StateDir(settings.state_dir)
    state_dir.create()
    log = state_dir.log_file(SUPERVISOR_LOG)
    try:
        with log.open("ab") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own settings
                [sys.executable, "-P", "-m", "penstock.local", settings.to_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                cwd=state_dir.path,
            )
    except OSError as error:
        raise state_dir.unwritable(error) from error
    assert process.stdout is not None
    try:
        with process.stdout as lines:
            if not _follow(lines, report):
                raise LocalError(f"the supervisor ended without a word; its log is {log}")
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise


def running_stack(state_dir: StateDir) -> StackState:
    """The stack that runs from `state_dir`.

    Raises:
        NotRunningError: there is none.
        LocalError: there is one of another version of Penstock.
    """
    record = load_record(state_dir.stack_file)
    if record is None or not record.supervisor.is_alive:
        raise NotRunningError(f"nothing runs from {state_dir.path}; start it with `penstock up`")
    if isinstance(record, ForeignStack):
        raise LocalError(
            f"{record} runs from {state_dir.path} (pid {record.supervisor.pid}), and this one cannot read its record; "
            "stop it with `penstock down` and start it anew"
        )
    return record


def restart_service(state_dir: StateDir, name: str, *, timeout_s: float) -> tuple[ServiceState, ServiceState]:
    """Has a service of the running stack drained and started again; returns when the stack can serve again.

    Returns:
        The service before and after.

    Raises:
        NotRunningError: nothing runs.
        LocalError: the service cannot be restarted, or does not come back; says why.
    """
    before = running_stack(state_dir)
    ask_restart(state_dir.socket_file, name, timeout_s=timeout_s)
    return before.service(name), running_stack(state_dir).service(name)


def stop_stack(state_dir: StateDir, *, timeout_s: float) -> list[str]:
    """Drains the stack that runs from `state_dir`, or ends what a dead supervisor left.

    Args:
        state_dir: of the stack.
        timeout_s: what is not gone by then is killed.

    Returns:
        What was stopped, in words; empty where nothing ran.
    """
    record = load_record(state_dir.stack_file)
    if record is None or not record.supervisor.send(signal.SIGTERM):
        return [_words(service) for service in end_leftovers(state_dir)]
    if not record.supervisor.wait(timeout_s):
        record.supervisor.send(signal.SIGKILL)
        record.supervisor.wait(timeout_s)
        end_leftovers(state_dir)
    if isinstance(record, ForeignStack):
        return [f"{record} (pid {record.supervisor.pid})"]
    return [_words(service) for service in record.services if service.process is not None]


def _words(service: ServiceState) -> str:
    return f"{service.name} (pid {service.process.pid})" if service.process else service.name


def _follow(lines: Iterable[bytes], report: Callable[[StackState], None]) -> bool:
    """Passes states on until the stack can serve; False where it ended before."""
    for line in lines:
        message = json.loads(line)
        if PROBLEM in message:
            raise LocalError(message[PROBLEM])
        state = StackState.from_json(line.decode())
        report(state)
        if state.phase is Phase.READY:
            return True
    return False
