"""Replays prompts through deciders in one process, with the encoder and the verifier of the service."""

import random
from collections.abc import Callable
from pathlib import Path

from decision_bench.known_scores import KnownScores
from decision_bench.service_cache import Seen, ServiceCache

from penstock.bench.cache.answers import Answers, draw_changing
from penstock.bench.cache.error_sequence import error_over_time
from penstock.bench.cache.figures import ReplayFigures, compute_figures
from penstock.bench.cache.oracle import oracle_hit_rate
from penstock.bench.cache.paraphrases import ParaphraseSet
from penstock.bench.cache.policy import Policy, PolicyKind
from penstock.bench.cache.replay import Replay
from penstock.bench.cache.settings import ReplaySettings
from penstock.bench.cache.traffic import make_traffic
from penstock_cache.decision.decider import Decider
from penstock_cache.settings import CacheSettings
from penstock_cache.wiring import load_models


class OfflineBench:
    """Replays prompts through deciders that know nothing at first.

    Args:
        data: the prompts and their classes.
        folder: keeps scores between runs.
        make: a decider, with the generator that draws its audits.
    """

    def __init__(self, data: ParaphraseSet, folder: Path, make: Callable[[random.Random], Decider]) -> None:
        self._data = data
        self._scores = KnownScores(*load_models(CacheSettings()), folder)
        self._prompts = self._scores.encode([prompt.text for prompt in data.prompts])
        self._make = make

    def run(self, settings: ReplaySettings) -> tuple[dict[str, object], list[Seen]]:
        """The figures of one replay, and what was decided on."""
        traffic = make_traffic(
            self._data.prompts, settings.traffic, num_requests=settings.num_requests, seed=settings.seed
        )
        changing = draw_changing(self._data.answers, settings.drift, settings.seed)
        answers = Answers(
            self._data.answers, changing=changing, change_at=len(traffic) // 2, is_reworded=False, seed=settings.seed
        )
        cache = ServiceCache(self._make(random.Random(settings.seed)), self._prompts, self._scores)
        replay = Replay(
            cache,
            tenant="",
            policy=Policy(PolicyKind.MAX_ERROR_RATE, settings.max_error_rate),
            answers=answers,
            labels=settings.labels,
            label_noise=settings.label_noise,
            seed=settings.seed,
        )
        replay.run(traffic, lambda: None)
        self._scores.keep()
        figures = compute_figures(
            replay.records,
            num_semantic_lookups=cache.num_semantic_lookups,
            max_error_rate=settings.max_error_rate,
        )
        found = {
            "max_error_rate": settings.max_error_rate,
            "seed": settings.seed,
            **_fields(figures, settings.max_error_rate),
            "oracle_hit_rate": oracle_hit_rate(traffic, answers),
            "num_audits": cache.num_audits,
            "estimated_error_rate": cache.decider.estimate.error_rate(),
        }
        return found, cache.seen


def _fields(figures: ReplayFigures, max_error_rate: float) -> dict[str, object]:
    sequence = error_over_time(figures.was_wrong, max_error_rate)
    drift = figures.drift
    return {
        "hit_rate": figures.hit_rate,
        "error_rate": figures.error_rate,
        "wrong_per_served": figures.wrong_per_served,
        "num_wrong": figures.num_wrong,
        "num_semantic_lookups": figures.num_semantic_lookups,
        "num_exact_hits": figures.num_exact_hits,
        "servable_rate": figures.servable_rate,
        "max_lower_after_first": sequence.max_lower_after_first,
        "max_upper_after_first": sequence.max_upper_after_first,
        "drift": None if drift is None else [drift.num_lookups, drift.num_wrong, drift.num_until_under],
    }
