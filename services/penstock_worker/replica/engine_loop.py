"""The thread that owns the engine: takes commands between steps, runs steps while there is work, reports each."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock_shared.logs import get_logger
from penstock_worker.engine.sequence import SequenceRequest
from penstock_worker.engine.step_result import EngineStats, StepResult
from penstock_worker.engine.validation import EngineLimits

# How much of the longest recent step the prediction keeps from step to step: half is forgotten after about 70 steps.
_PREDICTION_MEMORY = 0.99


class EngineApi(Protocol):
    """The part of the engine that the loop uses."""

    @property
    def limits(self) -> EngineLimits:
        """Fixed limits."""

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""

    def validate(self, request: SequenceRequest) -> None:
        """Raises where `request` can never run."""

    def add(self, request: SequenceRequest) -> None:
        """Queues a sequence."""

    def cancel(self, key: int) -> bool:
        """Drops a sequence; False where it is not there."""

    def step(self) -> StepResult:
        """Runs one step."""

    def stats(self) -> EngineStats:
        """Counters."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step has ended."""

    result: StepResult
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class CancelReport:
    """Sequences have left the engine without another output, before the step after `engine_step`."""

    engine_step: int
    keys: tuple[int, ...]
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class CrashReport:
    """The engine is beyond use, and its thread has ended."""

    error: Exception


Report = StepReport | CancelReport | CrashReport


@dataclass(frozen=True, slots=True)
class CancelSteps:
    """When the last cancel arrived, and the first step it was effective for. They differ by at most one."""

    arrived: int = 0
    effective: int = 0


class EngineLoop:
    """Runs an engine in a thread of its own.

    `add`, `cancel` and the properties may be used from any thread. Steps count from 1; a command that arrives while
    step n runs is carried out before step n + 1.

    Args:
        engine: not to be touched by anybody else from `start` on, except for its constant `limits` and `validate`.
        on_report: called in the engine's thread after each step and each batch of cancels. Must not block.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: EngineApi,
        on_report: Callable[[Report], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._on_report = on_report
        self._clock = clock
        self._inbox: list[SequenceRequest | int] = []
        self._changed = threading.Condition()
        self._is_stopping = False
        self._step = 0
        self._step_started_s: float | None = None
        self._longest_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.limits = engine.limits
        self.stats = engine.stats()
        self.last_step_sequences = 0
        self.cancel_steps = CancelSteps()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the step under way, and waits for it."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def validate(self, request: SequenceRequest) -> None:
        """Raises InvalidArgumentError where `request` can never run here."""
        self._engine.validate(request)

    def add(self, request: SequenceRequest) -> None:
        """Hands over a validated sequence."""
        with self._changed:
            self._inbox.append(request)
            self._changed.notify()

    def cancel(self, key: int) -> None:
        """Has a sequence leave before the next step; a CancelReport follows, unless it ends in the step under way."""
        with self._changed:
            self.cancel_steps = CancelSteps(self._step, self.cancel_steps.effective)
            self._inbox.append(key)
            self._changed.notify()

    @property
    def engine_step(self) -> int:
        """Number of the step under way, or else of the last one."""
        return self._step

    @property
    def step_age_s(self) -> float | None:
        """How long the step under way has been running; None while there is none."""
        started_s = self._step_started_s
        return None if started_s is None else self._clock() - started_s

    @property
    def predicted_step_s(self) -> float:
        """How long a step takes at most, judged by the recent ones."""
        return self._longest_s

    def _run(self) -> None:
        try:
            while self._carry_out_commands():
                self._run_step()
        except Exception as error:  # noqa: BLE001 - reported, so that the replica ends as a whole
            get_logger("engine").exception("the engine failed")
            self._on_report(CrashReport(error))

    def _carry_out_commands(self) -> bool:
        """Empties the inbox, waiting while there is nothing to do; False when the loop is to end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._inbox or self._is_stopping or self._engine.has_work)
                commands, self._inbox = self._inbox, []
                is_stopping = self._is_stopping
                # From here on a cancel counts as arriving during the step that these commands lead to.
                self._step = self.stats.step + 1
            self._apply(commands)
            if is_stopping:
                return False
            if self._engine.has_work:
                return True
            self._step = self.stats.step

    def _apply(self, commands: list[SequenceRequest | int]) -> None:
        gone = []
        for command in commands:
            if isinstance(command, SequenceRequest):
                self._engine.add(command)
            elif self._engine.cancel(command):
                gone.append(command)
        self.stats = self._engine.stats()
        if gone:
            with self._changed:
                self.cancel_steps = CancelSteps(self.cancel_steps.arrived, self._step)
            self._on_report(CancelReport(self.stats.step, tuple(gone), self.stats))

    def _run_step(self) -> None:
        self._step_started_s = self._clock()
        result = self._engine.step()
        self._step_started_s = None
        self._longest_s = max(result.duration_s, self._longest_s * _PREDICTION_MEMORY)
        self.last_step_sequences = result.num_sequences
        self.stats = self._engine.stats()
        self._on_report(StepReport(result, self.stats))
