"""The supervisor of a detached stack: `python -m penstock.local SETTINGS_AS_JSON`.

It tells each state as a line of JSON on its standard output for as long as somebody reads it.
"""

import json
import os
import sys

from penstock.local.control import PROBLEM
from penstock.local.deaths import DeathWatch
from penstock.local.errors import LocalError
from penstock.local.run import run_stack
from penstock.local.settings import StackSettings
from penstock.local.state import StackState
from penstock_shared.logs import configure_logging, get_logger

_STDOUT, _STDERR = 1, 2


def main(settings: str) -> int:
    """Runs the stack; the exit code tells whether it started."""
    configure_logging("supervisor", "warning", as_json=False)
    teller, deaths, log = _Teller(), DeathWatch(), get_logger("supervisor")

    def report(state: StackState) -> None:
        teller.tell(state.to_json())
        for line in deaths.take(state):
            log.warning(line)

    try:
        run_stack(StackSettings.from_json(settings), report)
    except LocalError as error:
        teller.tell(json.dumps({PROBLEM: str(error)}))
        return 1
    return 0


class _Teller:
    """Keeps standard output for itself: whatever else is printed goes to the log."""

    def __init__(self) -> None:
        self._output = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)

    def tell(self, line: str) -> None:
        try:
            os.write(self._output, f"{line}\n".encode())
        except BrokenPipeError:  # whoever started the stack has seen it ready and left
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
