"""What a runner and the bench say to each other: a line of JSON each, over the runner's standard input and output.

The standard library only: runners import this in their peers' environments.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

Prompts = list[list[int]]
Times = list[list[float]]
"""Of each answer, when each of its tokens was there: seconds since the requests were handed over."""


@dataclass(frozen=True)
class Options:
    """How an engine is started. `precision` is "bf16" or "int8"; `model_dir` holds what the engine reads."""

    model_dir: Path
    precision: str
    num_threads: int
    max_num_sequences: int
    max_num_tokens: int


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16. Without them engines are faster, and more exact, in float32."""
    return bool(_BF16_FLAGS & set(Path("/proc/cpuinfo").read_text().split()))


class Refusal(Exception):  # noqa: N818 not an error: a cell of the table
    """The engine does not do what is asked; says why."""


class Stopwatch:
    """Notes when the tokens of each answer came."""

    def __init__(self, num_answers: int) -> None:
        self.times: Times = [[] for _ in range(num_answers)]
        self._begin_s = time.perf_counter()

    def note(self, answer: int, num_tokens: int = 1) -> None:
        """`num_tokens` further tokens of this answer are there now."""
        self.times[answer] += [time.perf_counter() - self._begin_s] * num_tokens


Generate = Callable[[Prompts, int], Times]
Load = Callable[[Options], tuple[str, Generate]]


def serve(load: Load) -> None:
    """Loads the engine, says what it is, then answers line by line until its input ends.

    Args:
        load: returns what the engine calls itself, and the function that generates so many tokens for each prompt.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        about, generate = load(_options())
    except Refusal as refusal:
        print(json.dumps({"refused": str(refusal)}), file=answers)
        return
    print(json.dumps({"about": about}), file=answers)
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        print(json.dumps({"times": generate(asked["prompts"], asked["num_tokens"])}), file=answers)


def _options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--precision", choices=["bf16", "int8"], required=True)
    for name in ("--num-threads", "--max-num-sequences", "--max-num-tokens"):
        parser.add_argument(name, type=int, required=True)
    return Options(**vars(parser.parse_args()))
