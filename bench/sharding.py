"""One model in one process, and over two: tensor parallel and pipeline parallel, side by side.

Run: `python bench/sharding.py --cache DIR`

Each contestant has the same two cores: one process with two threads, or two processes with one each. They take turns,
round by round, and each round generates the same tokens. Printed are output tokens/s including prefill, as medians and
as ratios to the one process in the same round; what all-reduces and the plan cost a step; and which share of a step the
last stage waits for the one below, which is its bubble.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from engine_bench.checkpoint import make_checkpoint
from engine_bench.shapes import QWEN_05B, TINY
from sharding_bench.contestants import CONTESTANTS
from sharding_bench.round import RoundResult

_BASELINE = "one process"


def main() -> None:
    """Runs the rounds and prints the table."""
    options = _options()
    model_dir = make_checkpoint(options.cache, TINY if options.quick else QWEN_05B)
    results: dict[str, list[RoundResult]] = {name: [] for name in CONTESTANTS}
    with ExitStack() as stack:
        runners = {name: stack.enter_context(_runner(name, model_dir, options)) for name in CONTESTANTS}
        for number in range(options.rounds):
            for name, runner in runners.items():
                results[name].append(runner.round(number))
                print(f"round {number + 1}: {name} {results[name][-1].tokens_per_s:.1f} tokens/s", file=sys.stderr)
    if options.json:
        options.json.write_text(
            json.dumps({name: [asdict(each) for each in rounds] for name, rounds in results.items()})
        )
    print(_table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="keeps the checkpoint between runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16, help="requests at once")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--quick", action="store_true", help="a tiny model, for the test of the bench itself")
    parser.add_argument("--json", type=Path, help="keeps every round's figures")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Runner:
    """A contestant in a process of its own, which loads once and waits between its rounds."""

    process: "subprocess.Popen[str]"

    def round(self, seed: int) -> RoundResult:
        """Has it run one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contestant ended with {self.process.wait()}")
        return RoundResult(**json.loads(line))


@contextmanager
def _runner(name: str, model_dir: Path, options: argparse.Namespace) -> Iterator[Runner]:
    module = "sharding_bench.contestant"
    words = [options.batch, options.prompt_tokens, options.new_tokens, options.dtype]
    command = [sys.executable, "-m", module, name, str(model_dir), *map(str, words)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Runner(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _table(results: dict[str, list[RoundResult]]) -> str:
    header = ("", "tokens/s", "ratio", "step ms", "all-reduce ms", "plan ms", "waits below")
    rows = [header, *(_row(name, rounds, results[_BASELINE]) for name, rounds in results.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _row(name: str, rounds: list[RoundResult], baseline: list[RoundResult]) -> tuple[str, ...]:
    def median(values: Iterator[float]) -> float:
        return statistics.median(values)

    ratio = median(one.tokens_per_s / other.tokens_per_s for one, other in zip(rounds, baseline, strict=True))
    return (
        name,
        f"{median(each.tokens_per_s for each in rounds):.1f}",
        f"{ratio:.2f}",
        f"{median(each.step_ms for each in rounds):.1f}",
        f"{median(each.reduce_ms for each in rounds):.2f}",
        f"{median(each.plan_ms for each in rounds):.3f}",
        f"{median(each.waiting_share for each in rounds):.0%}",
    )


if __name__ == "__main__":
    main()
