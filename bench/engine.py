"""Our engine beside transformers and every installed peer, in interleaved rounds of one run, at equal precision.

Peers are installed by bench/peers/setup; one that is not is shown as such. The first run also makes the checkpoint
(random weights in the shape of Qwen2.5-0.5B) and what each peer makes of it, which takes minutes and 4 GB of disk.

python bench/engine.py --json engine.json --plot engine.png
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from engine_bench import report
from engine_bench.checkpoint import make_checkpoint
from engine_bench.contest import Contest, Results
from engine_bench.contestant import Start
from engine_bench.engines import ENGINES
from engine_bench.entries import make_entry
from engine_bench.shapes import QWEN_05B, TINY
from engine_bench.workloads import Workload, full_workloads, quick_workloads

_PRECISIONS = ("bf16", "int8")
_BEGIN_S = time.monotonic()


def say(line: str) -> None:
    """A line of progress."""
    print(f"[{time.monotonic() - _BEGIN_S:4.0f} s] {line}", flush=True)


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [kind.name for kind in ENGINES]
    parser.add_argument("--engines", nargs="+", choices=names, default=names)
    parser.add_argument("--precisions", nargs="+", choices=_PRECISIONS, default=list(_PRECISIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of each engine")
    parser.add_argument("--minutes", type=float, default=14.0, help="most time for the rounds; then fewer are made")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny workloads: does the bench work?")
    parser.add_argument("--json", type=Path, help="write every cell and the rounds behind it here")
    parser.add_argument("--plot", type=Path, help="write a picture here (PNG)")
    default = Path(os.environ.get("PENSTOCK_BENCH_CACHE") or Path.home() / ".cache" / "penstock-bench")
    parser.add_argument("--cache-dir", type=Path, default=default, help="checkpoints and peers' environments")
    return parser.parse_args()


async def contests(told: argparse.Namespace, workloads: Sequence[Workload], log_dir: Path) -> dict[str, Results]:
    """One contest a precision, so that not all engines are in memory at once."""
    say("checkpoint, and what peers make of it")
    shape = TINY if told.quick else QWEN_05B
    model_dir = make_checkpoint(told.cache_dir / ("tiny" if told.quick else "qwen2.5-0.5b"), shape)
    kinds = [(kind, kind.python(told.cache_dir)) for kind in ENGINES if kind.name in told.engines]
    entries = {
        precision: [make_entry(kind, precision, python=python, model_dir=model_dir) for kind, python in kinds]
        for precision in told.precisions
    }
    results = {}
    end_s = time.monotonic() + 60 * told.minutes
    for num_done, (precision, taking_part) in enumerate(entries.items()):
        start = Start(
            precision=precision,
            num_threads=told.threads,
            max_num_sequences=max(len(each.prompt_tokens) for each in workloads),
            max_num_tokens=max(each.max_request_tokens for each in workloads),
        )
        contest = Contest(workloads, vocab_size=shape["vocab_size"], start=start, log_dir=log_dir, say=say)
        now_s = time.monotonic()
        deadline_s = now_s + (end_s - now_s) / (len(entries) - num_done)
        results[precision] = await contest.run(taking_part, num_rounds=told.rounds, deadline_s=deadline_s)
    return results


def main() -> None:
    """Runs, prints and writes."""
    told = options()
    workloads = quick_workloads() if told.quick else full_workloads()
    environment = report.environment(told.threads)
    log_dir = told.cache_dir / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    by_precision = asyncio.run(contests(told, workloads, log_dir))
    for precision, results in by_precision.items():
        for workload in workloads:
            print(f"\n{report.table(workload, precision, results)}")
    if told.json is not None:
        found = {"environment": environment} | report.as_fields(workloads, by_precision)
        told.json.write_text(json.dumps(found, indent=1) + "\n")
    if told.plot is not None:
        title = f"{told.threads} threads each, one at a time; load average {environment['load_average_1m']:.1f} before"
        report.save_plot(told.plot, workloads, by_precision, title=title)


if __name__ == "__main__":
    main()
