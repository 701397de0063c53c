"""Interleaved rounds: every engine once in each, one at a time."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine_bench.contestant import Contestant, Failure, Start
from engine_bench.entries import Entry
from engine_bench.figures import Cell, Figures, cell_of, figures_of
from engine_bench.workloads import Prompts, Workload

_START_LIMIT_S = 240.0
_ANSWER_LIMIT_S = 240.0
_WARM_UP_PROMPT_TOKENS = 32
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
            await self._warm_up(contestant, turns[contestant.kind.name])
        for number, contestant in itertools.product(range(1, num_rounds + 1), contestants):
            if time.monotonic() > deadline_s:
                self._say(f"no time for the rest of round {number} and later ones")
                return
            await self._turn(contestant, turns[contestant.kind.name], number)

    async def _warm_up(self, contestant: Contestant, turns: _Turns) -> None:
        """As many sequences as in each workload, all of them short."""
        for workload in self._workloads:
            prompts = [prompt[:_WARM_UP_PROMPT_TOKENS] for prompt in workload.prompts(self._vocab_size, 0)]
            await self._figures(contestant, turns, prompts, _WARM_UP_TOKENS)
        if not turns.failure:
            self._say(f"{contestant.kind.title}: warm")

    async def _turn(self, contestant: Contestant, turns: _Turns, number: int) -> None:
        """One engine, all workloads."""
        rates = []
        for workload in self._workloads:
            prompts = workload.prompts(self._vocab_size, number)
            figures = await self._figures(contestant, turns, prompts, workload.num_new_tokens)
            if figures is not None:
                turns.rounds.setdefault(workload.name, []).append(figures)
                rates.append(f"{workload.name} {figures.tokens_per_s:.0f}")
        if rates:
            self._say(f"round {number} {self._start.precision} {contestant.kind.title}: tokens/s {', '.join(rates)}")

    async def _figures(
        self, contestant: Contestant, turns: _Turns, prompts: Prompts, num_tokens: int
    ) -> Figures | None:
        """None where it fails, now or before."""
        if turns.failure:
            return None
        try:
            return figures_of(await contestant.generate(prompts, num_tokens, limit_s=_ANSWER_LIMIT_S))
        except Failure as failure:
            turns.failure = str(failure)
            self._say(f"{contestant.kind.title}: {failure}")
            await contestant.stop()
            return None

    def _cells(self, turns: _Turns) -> dict[str, Cell]:
        return {each.name: cell_of(turns.rounds.get(each.name, []), turns.failure) for each in self._workloads}
