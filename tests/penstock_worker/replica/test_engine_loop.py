"""The engine's thread: commands between steps, a report for each step, and an end that is noticed."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

import pytest

from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.engine.step_result import EngineStats, StepResult
from penstock_worker.engine.validation import EngineLimits
from penstock_worker.replica.engine_loop import CancelReport, CancelSteps, CrashReport, EngineLoop, Report, StepReport

R = TypeVar("R", bound=Report)


class GatedEngine:
    """An engine whose steps begin and end when the test says so. Sequences run until they are cancelled."""

    limits = EngineLimits(8, 64, 512, 16, 100)

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.num_steps = 0
        self.entered = threading.Semaphore(0)
        self.may_end: queue.Queue[Exception | None] = queue.Queue()

    @property
    def has_work(self) -> bool:
        """While there are sequences."""
        return bool(self.keys)

    def validate(self, request: SequenceRequest) -> None:
        """Anything goes."""

    def add(self, request: SequenceRequest) -> None:
        """Takes it."""
        self.keys.append(request.key)

    def cancel(self, key: int) -> bool:
        """Drops it."""
        if key not in self.keys:
            return False
        self.keys.remove(key)
        return True

    def step(self) -> StepResult:
        """Waits for the test."""
        self.num_steps += 1
        self.entered.release()
        failure = self.may_end.get(timeout=10)
        if failure is not None:
            raise failure
        return StepResult(self.num_steps, 0.25, [], len(self.keys))

    def stats(self) -> EngineStats:
        """As far as the loop reads it."""
        return EngineStats(self.num_steps, len(self.keys), 0, 100, 100, 0, 0)


@pytest.fixture
def engine() -> GatedEngine:
    """Does nothing unless told."""
    return GatedEngine()


@pytest.fixture
def reports() -> "queue.Queue[Report]":
    """What the loop reports."""
    return queue.Queue()


@pytest.fixture
def loop(engine: GatedEngine, reports: "queue.Queue[Report]") -> Iterator[EngineLoop]:
    """Started; stopped at the end."""
    loop = EngineLoop(engine, reports.put, clock=lambda: 100.0)
    loop.start()
    yield loop
    for _ in range(100):
        engine.may_end.put(None)
    loop.stop()


def request(key: int) -> SequenceRequest:
    """Any sequence."""
    return SequenceRequest(key=key, prompt_token_ids=(1,), sampling=SamplingOptions(max_tokens=4))


def next_report(reports: "queue.Queue[Report]", kind: type[R]) -> R:
    """The next report, which must be of `kind`."""
    report = reports.get(timeout=10)
    assert isinstance(report, kind), report
    return report


def wait_until_in_step(engine: GatedEngine) -> None:
    """Returns when a step has begun."""
    assert engine.entered.acquire(timeout=10)


def test_a_cancel_during_a_step_takes_effect_before_the_next(
    loop: EngineLoop, engine: GatedEngine, reports: "queue.Queue[Report]"
) -> None:
    """'Gone within one step', measured where it happens."""
    loop.add(request(1))
    loop.add(request(2))
    wait_until_in_step(engine)
    step_under_way = engine.num_steps
    loop.cancel(1)
    engine.may_end.put(None)
    assert next_report(reports, StepReport).result.step == step_under_way
    report = next_report(reports, CancelReport)
    assert (report.keys, report.engine_step) == ((1,), step_under_way)
    assert loop.cancel_steps == CancelSteps(arrived=step_under_way, effective=step_under_way + 1)
    wait_until_in_step(engine)
    assert 1 not in engine.keys


def test_a_cancel_of_what_is_not_there_is_not_reported(
    loop: EngineLoop, engine: GatedEngine, reports: "queue.Queue[Report]"
) -> None:
    """The sequence has ended by itself; a second terminal event must not follow."""
    loop.add(request(1))
    wait_until_in_step(engine)
    loop.cancel(99)
    engine.may_end.put(None)
    next_report(reports, StepReport)
    wait_until_in_step(engine)
    assert reports.empty()


def test_a_cancel_of_the_only_sequence_needs_no_step(
    loop: EngineLoop, engine: GatedEngine, reports: "queue.Queue[Report]"
) -> None:
    """The engine goes idle and still gives its report, with the blocks free again."""
    loop.add(request(1))
    wait_until_in_step(engine)
    loop.cancel(1)
    engine.may_end.put(None)
    next_report(reports, StepReport)
    assert next_report(reports, CancelReport).stats.num_running == 0
    assert engine.num_steps == 1


def test_the_age_of_a_step_is_told_only_while_one_runs(engine: GatedEngine, reports: "queue.Queue[Report]") -> None:
    """A stall is a step that does not end; an idle engine is not stalled."""
    now_s = 10.0
    loop = EngineLoop(engine, reports.put, clock=lambda: now_s)
    assert loop.step_age_s is None
    loop.start()
    loop.add(request(1))
    wait_until_in_step(engine)
    now_s = 13.0
    assert loop.step_age_s == 3.0
    loop.cancel(1)
    engine.may_end.put(None)
    next_report(reports, StepReport)
    next_report(reports, CancelReport)
    assert loop.step_age_s is None
    assert loop.predicted_step_s == 0.25
    loop.stop()


def test_an_engine_beyond_use_is_reported(
    loop: EngineLoop, engine: GatedEngine, reports: "queue.Queue[Report]"
) -> None:
    """A dead thread behind a healthy server would hold its sessions for ever."""
    failure = RuntimeError("device lost")
    loop.add(request(1))
    wait_until_in_step(engine)
    engine.may_end.put(failure)
    assert next_report(reports, CrashReport).error is failure


def test_stopping_ends_the_thread_even_with_work_left(engine: GatedEngine, reports: "queue.Queue[Report]") -> None:
    """A replica must be able to end."""
    loop = EngineLoop(engine, reports.put)
    loop.start()
    loop.add(request(1))
    wait_until_in_step(engine)
    engine.may_end.put(None)
    engine.may_end.put(None)
    loop.stop()
    assert engine.num_steps in (1, 2)
