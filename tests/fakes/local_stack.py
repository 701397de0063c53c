"""A real supervisor process over tiny real services."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.local.errors import LocalError
from penstock.local.paths import StateDir
from penstock.local.ports import Ports
from penstock.local.requests import ask_restart
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, ServiceState, StackState

TESTS = Path(__file__).parents[1]


def fake_environment(**behaviours: dict[str, Any]) -> dict[str, str]:
    """The environment in which `python -m penstock_gateway` and the others are the tiny services."""
    path = [str(TESTS / "fakes" / "services"), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "FAKE_SERVICES": json.dumps(behaviours)}


@dataclass
class LocalStack:
    """`python -m penstock.local`, followed through what it tells; as a context manager it is killed at the end."""

    state_dir: Path
    behaviours: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_replicas: int = 2
    start_timeout_s: float = 60.0
    ports: Ports = field(default_factory=lambda: Ports(0, 0, 0, 0, 0, 0))

    def __enter__(self) -> Self:
        settings = StackSettings(
            state_dir=self.state_dir,
            model_dir=self.state_dir,
            model_name="pocket",
            num_replicas=self.num_replicas,
            ports=self.ports,
            start_timeout_s=self.start_timeout_s,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "penstock.local", settings.to_json()],
            stdout=subprocess.PIPE,
            text=True,
            env=fake_environment(**self.behaviours),
        )
        self.states: list[StackState] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def until(self, condition: Callable[[StackState], bool]) -> StackState:
        """The first state told from now on that satisfies `condition`."""
        while True:
            line = self._read()
            if "problem" in line:
                raise AssertionError(f"the stack failed: {line}")
            self.states.append(StackState.from_json(line))
            if condition(self.states[-1]):
                return self.states[-1]

    def until_ready(self) -> StackState:
        """The state in which it can serve."""
        return self.until(lambda state: state.phase is Phase.READY)

    def problem(self) -> str:
        """Why it failed; waits for its end."""
        while "problem" not in (line := self._read()):
            self.states.append(StackState.from_json(line))
        assert self.process.wait() == 1
        return str(json.loads(line)["problem"])

    def stop(self) -> int:
        """Asks it to drain and gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.until_end()
        return self.process.wait()

    def until_end(self) -> None:
        """Reads what it tells until it ends."""
        assert self.process.stdout is not None
        self.states += [StackState.from_json(line) for line in self.process.stdout]

    def events(self) -> list[str]:
        """What the services noted."""
        return (self.state_dir / "events").read_text().splitlines()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the supervisor ended without a word"
        return line


def restarting(stack: LocalStack, name: str) -> Future[None]:
    """Asks for a restart of one service, beside whatever the test goes on with."""
    answer: Future[None] = Future()

    def ask() -> None:
        try:
            answer.set_result(ask_restart(StateDir(stack.state_dir).socket_file, name, timeout_s=120))
        except LocalError as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer


def service(state: StackState, name: str) -> ServiceState:
    """One service of a stack."""
    (found,) = (service for service in state.services if service.name == name)
    return found
