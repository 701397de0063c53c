"""From outside of a stack: starting it detached, finding the one that runs, stopping it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable

from penstock.local.errors import LocalError, NotRunningError
from penstock.local.leftovers import end_leftovers
from penstock.local.paths import StateDir
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, ServiceState, StackState, load_state

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
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module, our own settings
            [sys.executable, "-P", "-m", "penstock.local", settings.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            cwd=state_dir.path,
        )
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
    """
    state = load_state(state_dir.stack_file)
    if state is None or not state.supervisor.is_alive:
        raise NotRunningError(f"nothing runs from {state_dir.path}; start it with `penstock up`")
    return state


def stop_stack(state_dir: StateDir, *, timeout_s: float) -> list[ServiceState]:
    """Drains the stack that runs from `state_dir`, or ends what a dead supervisor left.

    Args:
        state_dir: of the stack.
        timeout_s: what is not gone by then is killed.

    Returns:
        The services that were stopped; none where nothing ran.
    """
    state = load_state(state_dir.stack_file)
    if state is not None and state.supervisor.send(signal.SIGTERM):
        if state.supervisor.wait(timeout_s):
            return [service for service in state.services if service.process is not None]
        state.supervisor.send(signal.SIGKILL)
        state.supervisor.wait(timeout_s)
        end_leftovers(state_dir)
        return [service for service in state.services if service.process is not None]
    return end_leftovers(state_dir)


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
