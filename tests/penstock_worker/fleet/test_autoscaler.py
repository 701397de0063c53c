"""Replicas follow the load: up soon, down late, to none and back, and never up and down for nothing."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock_worker.fleet.autoscaler import Autoscaler
from penstock_worker.fleet.demand import Demand
from penstock_worker.fleet.spec import changed_model, parse_spec

_START_S = 8.0  # a replica that is wanted serves after so long


@dataclass
class Simulation:
    """Replicas that get through `per_replica` sequences a second, 4 at a time; arrivals at random; a look each second.

    Attributes:
        history: wanted replicas, by second.
        longest_wait_s: of the queue.
    """

    rate: Callable[[float], float]
    per_replica: float = 10.0
    bounds: dict[str, Any] = field(default_factory=dict)
    now_s: float = 0.0
    history: list[int] = field(default_factory=list)
    longest_wait_s: float = 0.0

    def __post_init__(self) -> None:
        wanted = {"name": "m", "model_dir": Path("/m"), "autoscale": {"idle_window_s": 120.0}, "max_replicas": 8}
        (self._model,) = parse_spec({"models": [wanted | self.bounds]}).models
        self._scaler = Autoscaler(lambda: self.now_s)
        self._ready_s = [0.0] * self._model.replicas
        self._waiting = 0.0
        self._draw = random.Random(7)
        self._placed: list[float] = []

    def run(self, seconds: int) -> list[int]:
        """Lets time pass; returns the wanted numbers, each once for as long as it stood."""
        for _ in range(seconds):
            self._pass_a_second()
        return [count for index, count in enumerate(self.history) if index == 0 or self.history[index - 1] != count]

    def _pass_a_second(self) -> None:
        self.now_s += 1
        num_ready = sum(each <= self.now_s for each in self._ready_s)
        capacity = num_ready * self.per_replica
        arrived = sum(self._draw.random() < self.rate(self.now_s) / 100 for _ in range(100))
        placed = min(self._waiting + arrived, capacity)
        self._waiting += arrived - placed
        self._placed = [*self._placed[-4:], placed]
        wait_s = self._waiting / capacity if capacity else self._waiting
        self.longest_wait_s = max(self.longest_wait_s, wait_s)
        running = 4 * num_ready * min(1.0, placed / capacity) if capacity else 0.0
        demand = Demand(
            num_requests=round(self._waiting + running),
            num_running=round(running),
            num_waiting=round(self._waiting),
            num_waiting_tokens=round(50 * self._waiting),
            predicted_wait_s=wait_s,
            placed_per_s=sum(self._placed) / len(self._placed),
        )
        count = self._scaler.decide(self._model, demand, num_ready)
        starts = [self.now_s + _START_S] * max(0, count - len(self._ready_s))
        self._ready_s = (self._ready_s + starts)[:count]
        self._model = changed_model(self._model, replicas=count)
        self.history.append(count)


def test_steady_load_changes_nothing() -> None:
    """Neither a little nor a lot of it, once there are enough."""
    assert Simulation(lambda _: 5).run(900) == [1]
    found = Simulation(lambda _: 35).run(900)
    assert found == sorted(found)
    assert found[-1] in (4, 5)


@pytest.mark.parametrize("rate", [8.0, 9.5, 10.5])
def test_load_at_the_edge_of_a_replica_does_not_flap(rate: float) -> None:
    """A second one ends the queue; without it, the queue would come back."""
    assert Simulation(lambda _: rate).run(2000) in ([1], [1, 2])


def test_rise_and_fall_are_followed_without_flapping() -> None:
    """From 1 to 60 sequences a second and back: up in time, down one by one, no step twice."""

    def rate(now_s: float) -> float:
        return 1 + 59 * max(0.0, 1 - abs(now_s - 600) / 400)

    simulation = Simulation(rate)
    found = simulation.run(1500)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert 6 <= max(found) <= 8
    assert found[-1] == 1
    assert simulation.longest_wait_s < 20


def test_burst_of_a_moment_starts_nothing() -> None:
    """What is shorter than the up window is over before a replica could help."""
    assert Simulation(lambda now_s: 60 if 100 <= now_s < 102 else 2).run(400) == [1]


def test_waves_shorter_than_the_down_window_are_ridden_out() -> None:
    """A replica takes seconds to start: it is not drained for half a minute of quiet."""
    found = Simulation(lambda now_s: 25 if now_s % 60 < 30 else 2).run(1800)
    assert found == sorted(found)


def test_model_may_be_without_replicas_until_it_is_asked() -> None:
    """After the idle window, not before; the first request wants one at once."""
    simulation = Simulation(lambda now_s: 2 if 10 < now_s < 100 or now_s > 500 else 0, bounds={"min_replicas": 0})
    assert simulation.run(1000) == [0, 1, 0, 1]
    slept_s = simulation.history.index(0, simulation.history.index(1))
    assert 215 <= slept_s <= 225
    woken_s = simulation.history.index(1, slept_s)
    assert 500 <= woken_s <= 510


def test_rare_requests_keep_a_model_awake() -> None:
    """Each takes a moment and is seen by no look; but each had its turn."""
    now_s = 0.0
    scaler = Autoscaler(lambda: now_s)
    wanted = {"name": "m", "model_dir": Path("/m"), "replicas": 1, "min_replicas": 0, "autoscale": {}}
    (model,) = parse_spec({"models": [wanted]}).models
    for second in range(1000):
        now_s = float(second)
        assert scaler.decide(model, Demand(placed_per_s=0.2 if second % 100 < 5 else 0.0), 1) == 1


@pytest.mark.parametrize(("least", "most"), [(1, 3), (2, 2)])
def test_bounds_hold(least: int, most: int) -> None:
    """Whatever waits."""
    bounds = {"replicas": least, "min_replicas": least, "max_replicas": most}
    assert Simulation(lambda _: 100, bounds=bounds).run(300)[-1] == most
    assert Simulation(lambda _: 0, bounds=bounds).run(300)[-1] == least


def test_what_is_being_started_is_waited_for() -> None:
    """The queue stands until it serves; that is no reason to start another each second."""
    now_s = 0.0
    scaler = Autoscaler(lambda: now_s)
    wanted = {"name": "m", "model_dir": Path("/m"), "replicas": 2, "autoscale": {}, "max_replicas": 8}
    (model,) = parse_spec({"models": [wanted]}).models
    crowded = Demand(num_requests=20, num_running=8, num_waiting=12, predicted_wait_s=4.0)
    for second in range(30):
        now_s = float(second)
        assert scaler.decide(model, crowded, num_ready=1) == 2
