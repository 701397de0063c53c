"""Sends random requests, valid and not, to a local stack for as long as you like, and says whether it bears them.

    python bench/fuzz.py --minutes 60 --out fuzz

Starts a stack of its own on free ports, and prints a line a minute. `fuzz.json` and `fuzz.png` have the memory of each
process over time. Exit code 1 where something is not as it must be; a failing example is shrunk and printed whole.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
# A replica's memory grows until every block of its KV cache has been used once. A small one is there in minutes.
os.environ.setdefault("PENSTOCK_WORKER_KV_MEMORY_BYTES", str(16 << 20))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from stack.fuzz.aftermath import Watch
from stack.fuzz.rounds import Counts, fuzzing
from stack.running import running_stack

_ROUND_EXAMPLES = 100


@dataclass
class Tally:
    """What has been sent so far."""

    counts: Counts = field(default_factory=Counter)
    num_rounds: int = 0
    failure: str = ""

    @property
    def num_calls(self) -> int:
        """Calls of all RPCs."""
        return sum(self.counts.values())

    def by_code(self) -> dict[str, int]:
        """Calls by how they ended."""
        found: Counter[str] = Counter()
        for (_, code), number in self.counts.items():
            found[code] += number
        return dict(found.most_common())


def main() -> int:
    """Runs for the time given and prints the verdict."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as state_dir, running_stack(Path(state_dir)) as stack:
        watch = Watch(stack)
        tally = _fuzz(stack.gateway_address, watch, arguments)
        problems = ([tally.failure] if tally.failure else []) + watch.problems()
    report = _report(arguments, tally, watch, problems)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1))
    _draw(watch, arguments.out.with_suffix(".png"))
    _print_verdict(report)
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    return parser.parse_args()


def _fuzz(address: str, watch: Watch, arguments: argparse.Namespace) -> Tally:
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes, gateway at {address}", flush=True)
    tally, began, told = Tally(), time.monotonic(), 0.0
    with fuzzing(address) as make_round:
        while (elapsed_s := time.monotonic() - began) < arguments.minutes * 60:
            try:
                tally.counts += make_round(arguments.seed + tally.num_rounds, _ROUND_EXAMPLES)
            except Exception as error:  # noqa: BLE001 - the verdict tells it
                told = "".join(traceback.format_exception(error))
                tally.failure = f"round of seed {arguments.seed + tally.num_rounds}: {told}"
                break
            tally.num_rounds += 1
            if elapsed_s - told >= 60:
                told = elapsed_s
                memory = {name: values[-1] for name, values in watch.memory_mb.items()}
                print(f"{elapsed_s / 60:5.1f} min  {tally.num_calls} calls  {tally.by_code()}  MB {memory}", flush=True)
    return tally


def _report(arguments: argparse.Namespace, tally: Tally, watch: Watch, problems: list[str]) -> dict[str, Any]:
    return {
        "seed": arguments.seed,
        "minutes": arguments.minutes,
        "num_calls": tally.num_calls,
        "by_code": tally.by_code(),
        "by_rpc_and_code": {f"{rpc} {code}": number for (rpc, code), number in sorted(tally.counts.items())},
        "problems": problems,
        "growth_in_the_second_half_mb": watch.growth_mb(),
        "slope_in_the_second_half_mb_per_hour": watch.slope_mb_per_hour(),
        "at_s": watch.at_s,
        "memory_mb": watch.memory_mb,
    }


def _print_verdict(report: dict[str, Any]) -> None:
    print(f"\n{report['num_calls']} calls: {report['by_code']}")
    print(f"growth in the second half, MB: {report['growth_in_the_second_half_mb']}")
    print(f"slope in the second half, MB an hour: {report['slope_in_the_second_half_mb_per_hour']}")
    for problem in report["problems"]:
        print(f"PROBLEM {problem}")
    print("verdict:", "NOT as it must be" if report["problems"] else "all as it must be")


def _draw(watch: Watch, path: Path) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow, and for this alone

    figure, axes = plt.subplots(figsize=(9, 5))
    for name, values in watch.memory_mb.items():
        axes.plot([at_s / 60 for at_s in watch.at_s[: len(values)]], values, label=name)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", title="Memory under random requests", ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
