"""The decider under simulated traffic: hit rate and error rate over seeds, with a plot.

Each kind of traffic runs once a seed and error rate. Beside the decider's hits stand the share of requests with a right
candidate, and what the best static threshold of the same scores would have reached, chosen with the truth in view.

python bench/decider_simulation.py --seeds 5 --plot docs/decider-simulation.png
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from decision_bench.figures import figures, running_errors, since_change
from decision_bench.scenarios import Run, Scenario
from decision_bench.world import Verifier

_KINDS: dict[str, Callable[[Scenario, int], Run]] = {
    "uniform": lambda scenario, seed: scenario.uniform(seed),
    "uniform, 5 % of labels wrong": lambda scenario, seed: replace(scenario, label_noise=0.05).uniform(seed),
    "uniform, scores twice too sure": lambda scenario, seed: replace(scenario, verifier=Verifier(slope=2)).uniform(
        seed
    ),
    "uniform, 5 % of near misses overlooked": lambda scenario, seed: replace(
        scenario, verifier=Verifier(overlooked=0.05)
    ).uniform(seed),
    "zipf, prompts come again": lambda scenario, seed: scenario.zipf(seed),
    "zipf, every prompt new": lambda scenario, seed: scenario.zipf(seed, prompts_a_class=None),
    "burst of near misses": lambda scenario, seed: replace(scenario, num_requests=2000, num_classes=600).burst(seed),
    "30 % of answers change": lambda scenario, seed: replace(scenario, num_requests=8000).drift(seed),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the seeds; rates are shares of the requests that reached the semantic layer.

    Attributes:
        worst_error_rate: of the seeds.
        worst_running: highest error rate so far at any moment after the first 500 requests, of the seeds.
        exceeded: seeds in which a confidence sequence proved the error rate to be above what is allowed.
        all_hit_rate: with exact hits, of all requests.
    """

    traffic: str
    max_error_rate: float
    num_requests: float
    hit_rate: float
    error_rate: float
    worst_error_rate: float
    worst_running: float
    exceeded: int
    wrong_per_served: float
    possible: float
    best_threshold: float
    all_hit_rate: float


def _row(traffic: str, max_error_rate: float, runs: list[Run]) -> Row:
    each = [figures(run.result, max_error_rate) for run in runs]
    running = [running_errors(run.result, max_error_rate) for run in runs]
    mean = statistics.fmean
    return Row(
        traffic=traffic,
        max_error_rate=max_error_rate,
        num_requests=mean(one.num_requests for one in each),
        hit_rate=round(mean(one.hit_rate for one in each), 4),
        error_rate=round(mean(one.error_rate for one in each), 5),
        worst_error_rate=round(max(one.error_rate for one in each), 5),
        worst_running=round(max(one.highest for one in running), 5),
        exceeded=sum(one.is_proven_above for one in running),
        wrong_per_served=round(mean(one.wrong_per_served for one in each), 4),
        possible=round(mean(one.possible for one in each), 4),
        best_threshold=round(mean(one.best_threshold for one in each), 4),
        all_hit_rate=round(mean(one.all_hit_rate for one in each), 4),
    )


def _plot(rows: list[Row], change: list[Run], max_error_rate: float, path: Path) -> None:
    mpl.use("Agg")
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for kind in _KINDS:
        mine = [row for row in rows if row.traffic == kind]
        left.plot([100 * row.error_rate for row in mine], [100 * row.hit_rate for row in mine], "o-", label=kind)
    for rate in sorted({row.max_error_rate for row in rows}):
        left.axvline(100 * rate, color="grey", linestyle=":", linewidth=1)
    left.set(xlabel="error rate, %; dotted: allowed", ylabel="hit rate, %", ylim=(0, 100))
    left.legend(fontsize=7)
    errors, hits = (np.mean(curve, axis=0) for curve in zip(*map(since_change, change), strict=True))
    begins = np.arange(len(errors)) * 100 - 500
    right.plot(begins, 100 * errors, label="error rate")
    right.plot(begins, 100 * hits, label="hit rate")
    right.axhline(100 * max_error_rate, color="grey", linestyle=":", linewidth=1)
    right.set(xlabel="requests of the changed classes since the change", ylabel="% of 100 requests")
    right.legend()
    plt.tight_layout()
    plt.savefig(path, dpi=110)


def main() -> None:
    """Runs all kinds and prints a JSON object a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-error-rates", type=float, nargs="+", default=[0.01, 0.03])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows, change = [], []
    for kind, run in _KINDS.items():
        for rate in options.max_error_rates:
            runs = [run(Scenario(max_error_rate=rate), seed) for seed in range(options.seeds)]
            rows.append(_row(kind, rate, runs))
            print(json.dumps(asdict(rows[-1])), flush=True)
            if runs[0].change and rate == options.max_error_rates[0]:
                change = runs
    if options.plot:
        _plot(rows, change, options.max_error_rates[0], options.plot)


if __name__ == "__main__":
    main()
