"""What a supervisor that was killed may have left."""

import signal

from penstock.local.paths import StateDir
from penstock.local.process_id import ProcessId
from penstock.local.record import load_state
from penstock.local.state import ServiceState

_KILL_WAIT_S = 10.0


def end_leftovers(state_dir: StateDir) -> list[ServiceState]:
    """Ends what a dead supervisor left running, removes its record, and tells which services those were."""
    state = load_state(state_dir.stack_file)
    services = () if state is None else state.services
    left = [service for service in services if service.process is not None and _end(service.process)]
    state_dir.stack_file.unlink(missing_ok=True)
    return left


def _end(process: ProcessId) -> bool:
    return process.send(signal.SIGKILL) and process.wait(_KILL_WAIT_S)
