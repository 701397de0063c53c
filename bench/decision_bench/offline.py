"""Replays prompts through deciders in one process, with the encoder and the verifier of the service."""

import random
from collections.abc import Callable
from pathlib import Path

from decision_bench.known_scores import KnownScores
from decision_bench.service_cache import Seen, ServiceCache

from penstock.bench.cache.answers import Answers, draw_changing
from penstock.bench.cache.cache_client import OwnCount
from penstock.bench.cache.error_sequence import error_over_time
from penstock.bench.cache.figures import compute_figures
from penstock.bench.cache.oracle import oracle_answered_rate, oracle_hit_rate
from penstock.bench.cache.paraphrases import Paraphrase, ParaphraseSet
from penstock.bench.cache.policy import Policy, PolicyKind, policies_to_compare
from penstock.bench.cache.replay import Replay
from penstock.bench.cache.session import PolicyResult, RunResult
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

    def run(self, settings: ReplaySettings) -> tuple[RunResult, list[Seen]]:
        """The figures of a run, and what was decided on."""
        policy = Policy(PolicyKind.MAX_ERROR_RATE, settings.max_error_rate)
        traffic = make_traffic(
            self._data.prompts, settings.traffic, num_requests=settings.num_requests, seed=settings.seed
        )
        changing = draw_changing(self._data.answers, settings.drift, settings.seed)
        answers = Answers(
            self._data.answers, changing=changing, change_at=len(traffic) // 2, is_reworded=False, seed=settings.seed
        )
        others = policies_to_compare(settings.max_error_rate) if settings.is_compared else []
        (main, seen), *compared = [self._replay(settings, each, traffic, answers) for each in (policy, *others)]
        result = RunResult(
            main,
            error_over_time(main.figures.was_wrong, settings.max_error_rate),
            tuple(each for each, _ in compared),
            oracle_hit_rate(traffic, answers),
            oracle_answered_rate(traffic, answers),
        )
        return result, seen

    def _replay(
        self, settings: ReplaySettings, policy: Policy, traffic: list[Paraphrase], answers: Answers
    ) -> tuple[PolicyResult, list[Seen]]:
        cache = ServiceCache(self._make(random.Random(settings.seed)), self._prompts, self._scores)
        replay = Replay(
            cache,
            tenant="",
            policy=policy,
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
        estimate = cache.decider.estimate
        own_count = OwnCount(
            num_semantic_lookups=cache.num_semantic_lookups,
            num_audits=cache.num_audits,
            num_semantic_failures=0,
            error_rate=estimate.error_rate(),
            error_rate_bound=estimate.error_rate_bound(),
            wrong_per_served=None,
        )
        return PolicyResult(policy, figures, own_count), cache.seen
