"""The decider on a verifier's real scores, without the service: what `penstock bench cache` replays, in one process.

Encoder, verifier and decider are the service's; there is no I/O but the folder that keeps scores between runs, so that
a replay takes seconds once its scores are known. Prints what `penstock bench cache --json` prints, and means.

python bench/decider_replay.py --cache /tmp/scores --seeds 5 --max-error-rates 0.01 0.03
python bench/decider_replay.py --cache /tmp/scores --traffic zipf --requests 20000 --drift 0.3
"""

import argparse
import json
import statistics
from pathlib import Path

from decision_bench.offline import OfflineBench

from penstock.bench.cache.paraphrases import load_paraphrases
from penstock.bench.cache.plot import save_plot
from penstock.bench.cache.report import report_fields
from penstock.bench.cache.settings import Labels, ReplaySettings
from penstock.bench.cache.traffic import Traffic
from penstock_cache.decision.decider import Decider

DATA = Path(__file__).parents[1] / "models/verifier/training/data/paraphrases_dev.jsonl"


def main() -> None:
    """Replays each rate with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps scores between runs")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-error-rates", type=float, nargs="+", default=[0.01, 0.03])
    parser.add_argument("--traffic", type=Traffic, default=Traffic.UNIFORM, choices=list(Traffic))
    parser.add_argument("--requests", type=int)
    parser.add_argument("--label-noise", type=float, default=0.0)
    parser.add_argument("--drift", type=float, default=0.0)
    parser.add_argument("--compare", action="store_true", help="other policies replay the same")
    parser.add_argument("--plot", type=Path, help="of the last run")
    options = parser.parse_args()
    bench = OfflineBench(load_paraphrases(options.data), options.cache, lambda rng: Decider(rng=rng))
    for rate in options.max_error_rates:
        found = []
        for seed in range(options.seeds):
            settings = ReplaySettings(
                max_error_rate=rate,
                traffic=options.traffic,
                num_requests=options.requests,
                seed=seed,
                labels=Labels.CLASS,
                label_noise=options.label_noise,
                drift=options.drift,
                is_compared=options.compare,
            )
            result, _ = bench.run(settings)
            found.append(result.main.figures)
            print(json.dumps(report_fields(settings, {}, result)), flush=True)
            if options.plot:
                title = f"{options.data.name}, {options.traffic}, seed {seed}, in one process"
                save_plot(options.plot, result, max_error_rate=rate, title=title)
        means = {
            "hit_rate": statistics.fmean(figures.hit_rate or 0.0 for figures in found),
            "error_rate": statistics.fmean(figures.error_rate or 0.0 for figures in found),
        }
        print(json.dumps({"max_error_rate": rate, "means": means}), flush=True)


if __name__ == "__main__":
    main()
