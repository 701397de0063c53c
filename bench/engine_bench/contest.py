"""Interleaved rounds: every engine once in each, one at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine_bench.contestant import Contestant, Failure, Start
from engine_bench.entries import Entry
from engine_bench.figures import Cell, Figures, cell_of, figures_of
from engine_bench.workloads import Workload

_START_LIMIT_S = 120.0
_TURN_LIMIT_S = 120.0
_WARM_UP_TOKENS = 4

Say = Callable[[str], None]


@dataclass(slots=True)
class _Turns:
    """What an engine did so far."""

    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One precision: cells by engine and workload, and what each engine calls itself."""

    cells: dict[str, dict[str, Cell]]
    about: dict[str, str]


class Contest:
    """The engines at one precision.

    Args:
        workloads: done in this order by each engine in each round.
        vocab_size: prompts are drawn from it.
        start: how the engines are started.
        log_dir: takes what each engine prints.
        say: takes progress lines.
    """

    def __init__(
        self, workloads: Sequence[Workload], *, vocab_size: int, start: Start, log_dir: Path, say: Say
    ) -> None:
        self._workloads = workloads
        self._vocab_size = vocab_size
        self._start = start
        self._log_dir = log_dir
        self._say = say

    async def run(self, entries: Sequence[Entry], *, num_rounds: int, deadline_s: float) -> Results:
        """All rounds, fewer where `deadline_s` (on the monotonic clock) comes first. Nothing that fails ends it."""
        turns = {entry.kind.name: _Turns(failure=entry.absence) for entry in entries}
        contestants: list[Contestant] = []
        try:
            for entry in entries:
                contestants += await self._started(entry, turns[entry.kind.name])
            await self._rounds(contestants, turns, num_rounds, deadline_s)
        finally:
            await asyncio.gather(*(contestant.stop() for contestant in contestants))
        cells = {name: self._cells(turn) for name, turn in turns.items()}
        return Results(cells=cells, about={contestant.kind.name: contestant.about for contestant in contestants})

    async def _started(self, entry: Entry, turns: _Turns) -> list[Contestant]:
        """The engine, loaded and warm; nothing where it is absent or fails."""
        kind = entry.kind
        if entry.python is None or entry.model_dir is None:
            self._say(f"{kind.title}: {entry.absence}")
            return []
        begin_s = time.monotonic()
        try:
            contestant = await Contestant.start(
                kind,
                entry.python,
                entry.model_dir,
                self._start,
                log=self._log_dir / f"{kind.name}-{self._start.precision}.log",
                limit_s=_START_LIMIT_S,
            )
        except Failure as failure:
            turns.failure = str(failure)
            self._say(f"{kind.title}: {failure}")
            return []
        self._say(f"{kind.title}: started in {time.monotonic() - begin_s:.0f} s: {contestant.about}")
        return [contestant]

    async def _rounds(
        self, contestants: list[Contestant], turns: dict[str, _Turns], num_rounds: int, deadline_s: float
    ) -> None:
        for contestant in contestants:
            await self._turn(contestant, turns[contestant.kind.name], seed=0, is_warm_up=True)
        longest_s = 0.0
        for number in range(1, num_rounds + 1):
            begin_s = time.monotonic()
            if begin_s + longest_s > deadline_s:
                self._say(f"no time for round {number} and later ones")
                return
            for contestant in contestants:
                await self._turn(contestant, turns[contestant.kind.name], seed=number, is_warm_up=False)
            longest_s = max(longest_s, time.monotonic() - begin_s)

    async def _turn(self, contestant: Contestant, turns: _Turns, *, seed: int, is_warm_up: bool) -> None:
        """One engine, all workloads. A warm-up has their prompts, so that every shape was there, and few new tokens."""
        if turns.failure:
            return
        found: dict[str, Figures] = {}
        try:
            for workload in self._workloads:
                prompts = workload.prompts(self._vocab_size, seed)
                num_tokens = _WARM_UP_TOKENS if is_warm_up else workload.num_new_tokens
                times = await contestant.generate(prompts, num_tokens, limit_s=_TURN_LIMIT_S)
                found[workload.name] = figures_of(times)
        except Failure as failure:
            turns.failure = str(failure)
            self._say(f"{contestant.kind.title}: {failure}")
            await contestant.stop()
        if is_warm_up:
            self._say(f"{contestant.kind.title}: warm")
            return
        for name, figures in found.items():
            turns.rounds.setdefault(name, []).append(figures)
        rates = ", ".join(f"{name} {figures.tokens_per_s:.0f}" for name, figures in found.items())
        self._say(f"round {seed} {self._start.precision} {contestant.kind.title}: tokens/s {rates}")

    def _cells(self, turns: _Turns) -> dict[str, Cell]:
        return {each.name: cell_of(turns.rounds.get(each.name, []), turns.failure) for each in self._workloads}
