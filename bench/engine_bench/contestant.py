"""One engine as a process of its own, which waits between its turns."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_bench.engines import EngineKind
from engine_bench.lines import Prompts, Times

_BENCH = Path(__file__).parents[1]
_LINE_BYTES = 1 << 24


class Failure(Exception):  # noqa: N818 a cell of the table, no fault of the bench
    """Why an engine has no figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How all engines of a contest are started."""

    precision: str
    num_threads: int
    max_num_sequences: int
    max_num_tokens: int


class Contestant:
    """A running engine.

    Args:
        kind: which one.
        process: speaks `engine_bench.lines`.
        log: what it printed.
    """

    def __init__(self, kind: EngineKind, process: Process, log: Path) -> None:
        self.kind = kind
        self.about = ""
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls, kind: EngineKind, python: Path, model_dir: Path, start: Start, *, log: Path, limit_s: float
    ) -> "Contestant":
        """Starts it and waits until it has loaded.

        Raises:
            Failure: it refuses what is asked, fails, or takes longer than `limit_s`.
        """
        options = {f"--{name.replace('_', '-')}": str(getattr(start, name)) for name in start.__slots__}
        with log.open("w") as output:
            process = await asyncio.create_subprocess_exec(
                *(python, "-m", f"engine_bench.runners.{kind.runner}", "--model-dir", model_dir),
                *(part for option in options.items() for part in option),
                cwd=_BENCH,
                env=os.environ | _environment(kind, python, start.num_threads),
                stdin=PIPE,
                stdout=PIPE,
                stderr=output,
                limit=_LINE_BYTES,
            )
        contestant = cls(kind, process, log)
        try:
            contestant.about = (await contestant._answer(limit_s))["about"]
        except BaseException:
            await contestant.stop()
            raise
        return contestant

    async def generate(self, prompts: Prompts, num_tokens: int, *, limit_s: float) -> Times:
        """Has it answer all prompts with exactly `num_tokens` tokens each.

        Raises:
            Failure: it ended, took longer than `limit_s`, or gave another number of tokens.
        """
        assert self._process.stdin is not None
        line = json.dumps({"prompts": prompts, "num_tokens": num_tokens}) + "\n"
        self._process.stdin.write(line.encode())
        times: Times = (await self._answer(limit_s))["times"]
        if [len(answer) for answer in times] != [num_tokens] * len(prompts):
            raise Failure("gave another number of tokens than asked")
        return times

    async def stop(self) -> None:
        """Ends it at once: it has nothing to lose."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise Failure(f"no answer in {limit_s:.0f} s") from None
        if not line:
            raise Failure(f"failed: {_last_line(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise Failure(f"refuses {answer['refused']}")
        return answer


def _environment(kind: EngineKind, python: Path, num_threads: int) -> dict[str, str]:
    found = {"OMP_NUM_THREADS": str(num_threads), "PYTHONPATH": str(_BENCH)}
    return found if kind.preload is None else found | {"LD_PRELOAD": str(python.parents[1] / kind.preload)}


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"
