"""Fits what the decider believes beforehand to a verifier's scores: evidence weights, and the curve over the evidence.

Replays the prompts as `decider_replay.py` does and fits logistic curves to whether the best cluster was right. Beside
each coefficient stands its standard deviation between four groups of families: what is smaller than that is chance. The
prior's deviations are a few times these. Takes a minute once the scores are known; to be repeated with new weights of
the verifier, and what it prints to be rounded into calibration_prior.py and evidence.py.

python bench/fit_decider_prior.py --cache /tmp/scores
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from decider_replay import DATA
from decision_bench.offline import OfflineBench
from decision_bench.service_cache import Seen
from numpy.typing import NDArray

from penstock.bench.cache.paraphrases import Paraphrase, load_paraphrases
from penstock.bench.cache.settings import Labels, ReplaySettings
from penstock.bench.cache.traffic import Traffic
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.evidence import EvidenceWeights, weigh

_NUM_GROUPS = 4
_NEWTON_STEPS = 30
_BEND_PENALTY = 5.0
Array = NDArray[np.float64]


def facts(seen: Seen, prompts: dict[str, Paraphrase], weights: EvidenceWeights) -> tuple[list[float], bool]:
    """Of the cluster with the best evidence: the evidence and its parts, and whether it is right."""
    nothing = [0.0] * len(seen.candidates)
    best = max(weigh(seen.candidates, nothing, weights), key=lambda each: each.score)

    def score(**parts: float) -> float:
        found = weigh(seen.candidates, nothing, EvidenceWeights(**{"witness": 0, "lag": 0, "rivals": 0} | parts))
        return next(each.score for each in found if each.index == best.index)

    alone = score()
    parts = [score(witness=1) - alone, score(lag=1) - alone, score(rivals=1) - alone]
    is_right = prompts[seen.texts[best.index]].class_name == prompts[seen.prompt].class_name
    return [best.score, alone, *parts], is_right


def fit(inputs: Array, right: NDArray[np.bool_], penalties: Array) -> Array:
    """Coefficients of a logistic curve; penalised ones are drawn towards 0."""
    found = np.zeros(inputs.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ found))
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(penalties)
        found += np.linalg.solve(curvature, inputs.T @ (right - chance) - penalties * found)
    return found


def spread(
    inputs: Array, right: NDArray[np.bool_], penalties: Array, groups: NDArray[np.int64]
) -> dict[str, list[float]]:
    """Coefficients of all, and how much they differ between groups of families."""
    parts = [fit(inputs[groups == group], right[groups == group], penalties) for group in range(_NUM_GROUPS)]
    return {
        "all": np.round(fit(inputs, right, penalties), 2).tolist(),
        "deviation": np.round(np.std(parts, axis=0, ddof=1), 2).tolist(),
    }


def main() -> None:
    """Replays, fits, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps scores between runs")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    data, prior = load_paraphrases(options.data), CalibrationPrior()
    prompts = {prompt.text: prompt for prompt in data.prompts}
    families = sorted({prompt.family for prompt in data.prompts})
    random.Random(0).shuffle(families)
    group_of = {family: place % _NUM_GROUPS for place, family in enumerate(families)}
    bench = OfflineBench(data, options.cache, lambda rng: Decider(rng=rng))
    seen = [
        each
        for rate in (0.01, 0.03)
        for seed in range(5)
        for each in bench.run(ReplaySettings(rate, Traffic.UNIFORM, None, seed, Labels.CLASS, 0.0, 0.0, False))[1]
    ]
    rows, right = zip(*(facts(each, prompts, prior.evidence) for each in seen), strict=True)
    table, is_right = np.array(rows), np.array(right)
    groups = np.array([group_of[prompts[each.prompt].family] for each in seen])
    ones, evidence = np.ones(len(table)), table[:, 0]
    parts = np.column_stack([ones, table[:, 1:]])
    curve = np.column_stack([ones, evidence, *(np.maximum(0, evidence - knee) for knee in prior.knees)])
    bends = np.array([0.0, 0.0] + [_BEND_PENALTY] * len(prior.knees))
    print(json.dumps({"intercept, score, witness, lag, rivals": spread(parts, is_right, np.zeros(5), groups)}))
    print(json.dumps({"intercept, slope, bends": spread(curve, is_right, bends, groups)}))


if __name__ == "__main__":
    main()
