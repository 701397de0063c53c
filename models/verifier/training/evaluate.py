"""Curves and calibration of a verifier on prompts that it never saw."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from prompts import Prompts
from replays import Outcome, groups, replay

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.verification.trained_verifier import TrainedVerifier

mpl.use("Agg")
from matplotlib import pyplot as plt

NUM_SEEDS = 5
ERROR_RATES = (0.01, 0.02, 0.03, 0.05)
NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Tops:
    """The best candidate of each query of some replays that store everything."""

    logits: NDArray[np.float64]
    is_right: NDArray[np.bool_]

    def hit_rates(self) -> dict[str, float]:
        """Right and wrong hits a request at each error rate, at the threshold that just keeps it."""
        order = np.argsort(-self.logits)
        wrong = np.cumsum(~self.is_right[order]) / len(order)
        return {f"{rate:.2f}": round(float((wrong <= rate).sum() / len(order)), 4) for rate in ERROR_RATES}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is evaluated, and the prompts that it never saw."""

    verifier: TrainedVerifier
    prompts: Prompts
    encoded: list[EncodedPrompt]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[num_prompts, dimension]."""
        return np.stack([prompt.vector for prompt in self.encoded])


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    verifier: Tops
    trees: Tops
    heads: Tops
    cosine: Tops
    calibration: tuple[float, float]
    replayed: dict[str, dict[str, float]]

    def chances(self) -> NDArray[np.float64]:
        """Calibrated probabilities of the best candidates."""
        slope, offset = self.calibration
        return np.asarray(1 / (1 + np.exp(-(slope * self.verifier.logits + offset))))

    def bins(self) -> list[tuple[float, float, int]]:
        """Mean chance, share that is right, and number, of ten equal bins of chance."""
        chances, right = self.chances(), self.verifier.is_right
        place = np.minimum((chances * NUM_BINS).astype(int), NUM_BINS - 1)
        inside = [place == number for number in range(NUM_BINS)]
        return [(float(chances[i].mean()), float(right[i].mean()), int(i.sum())) for i in inside if i.any()]

    def summary(self) -> dict[str, object]:
        """For metrics.json."""
        total = len(self.verifier.is_right)
        error = sum(abs(chance - right) * number for chance, right, number in self.bins()) / total
        return {
            "hit_rate_at_error_rate": self.verifier.hit_rates(),
            "hit_rate_at_error_rate_of_trees": self.trees.hit_rates(),
            "hit_rate_at_error_rate_of_head": self.heads.hit_rates(),
            "hit_rate_at_error_rate_of_cosine": self.cosine.hit_rates(),
            "replayed": self.replayed,
            "expected_calibration_error": round(error, 4),
            "num_requests": total,
        }


def figures(verifier: TrainedVerifier, prompts: Prompts, encoded: Sequence[EncodedPrompt], beside: Executor) -> Figures:
    """On the development prompts, `NUM_SEEDS` orders, which are replayed `beside`."""
    members = prompts.of_source("dev")
    shown = Shown(verifier, prompts.only(members), [encoded[number] for number in members])
    found = list(beside.map(_stored_all, [shown] * NUM_SEEDS, range(NUM_SEEDS)))
    by_scorer = [Tops(*map(np.concatenate, zip(*column, strict=True))) for column in zip(*found, strict=True)]
    both, trees, heads, near = by_scorer
    replayed = {f"{rate:.2f}": _replayed(shown, _threshold(both, rate), beside) for rate in (0.01, 0.03)}
    return Figures(both, trees, heads, near, platt(both), replayed)


def platt(tops: Tops) -> tuple[float, float]:
    """Slope and offset of the logistic curve through the best candidates (Newton's steps)."""
    inputs = np.stack([tops.logits, np.ones_like(tops.logits)], axis=1)
    solution = np.array([1.0, 0.0])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-inputs @ solution))
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs
        solution += np.linalg.solve(curvature, inputs.T @ (tops.is_right - chance))
    return float(solution[0]), float(solution[1])


def plot(found: Figures, folder: Path) -> None:
    """Hits against errors, and chance against outcome."""
    figure, (curve, reliability) = plt.subplots(1, 2, figsize=(10, 4.2))
    for name, tops in (("verifier", found.verifier), ("cosine", found.cosine)):
        order = np.argsort(-tops.logits)
        wrong = np.cumsum(~tops.is_right[order]) / len(order)
        curve.plot(100 * wrong, 100 * np.arange(1, len(order) + 1) / len(order), label=name)
    curve.set(xlim=(0, 10), ylim=(0, 70), xlabel="wrong hits, % of requests", ylabel="hits, % of requests")
    curve.legend()
    chance, right, _ = zip(*found.bins(), strict=True)
    reliability.plot([0, 1], [0, 1], color="grey", linewidth=1)
    reliability.plot(chance, right, marker="o")
    reliability.set(xlabel="chance that the verifier states", ylabel="share that is right")
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=110)


def _stored_all(shown: Shown, seed: int) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """The best candidates' logits, and whether they are right, by both models, trees, heads, cosine."""
    prompts, vectors, rows = shown.prompts, shown.vectors, []
    for group in groups(np.arange(len(prompts.texts)), vectors, prompts.classes, seed):
        candidates = [shown.encoded[number] for number in group.candidates]
        trees, heads = shown.verifier.votes(shown.encoded[group.query], candidates, group.clusters)
        both = shown.verifier.combined(trees, heads)
        is_right = prompts.classes[group.candidates] == prompts.classes[group.query]
        by_scorer = (both, trees, heads, vectors[group.candidates] @ vectors[group.query])
        rows.append([(float(logits.max()), bool(is_right[logits.argmax()])) for logits in by_scorer])
    return [
        (np.array([logit for logit, _ in column]), np.array([right for _, right in column]))
        for column in zip(*rows, strict=True)
    ]


def _threshold(tops: Tops, rate: float) -> float:
    order = np.argsort(-tops.logits)
    wrong = np.cumsum(~tops.is_right[order]) / len(order)
    return float(tops.logits[order][wrong <= rate][-1])


def _replayed(shown: Shown, threshold: float, beside: Executor) -> dict[str, float]:
    """True replays, where what is served is not stored."""
    outcomes = list(beside.map(_replay, [shown] * NUM_SEEDS, range(NUM_SEEDS), [threshold] * NUM_SEEDS))
    total = sum(outcome.num_requests for outcome in outcomes)
    return {
        "hit_rate": round(sum(outcome.num_hits for outcome in outcomes) / total, 4),
        "error_rate": round(sum(outcome.num_wrong for outcome in outcomes) / total, 4),
    }


def _replay(shown: Shown, seed: int, threshold: float) -> Outcome:
    members, encoded = np.arange(len(shown.encoded)), shown.encoded

    def scorer(query: int, candidates: NDArray[np.int64], clusters: Sequence[str]) -> list[float]:
        return shown.verifier.scores(encoded[query], [encoded[number] for number in candidates], clusters)

    return replay(members, shown.vectors, shown.prompts.classes, seed, scorer=scorer, threshold=threshold)
