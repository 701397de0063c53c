"""A whole run: waits for the service's semantic layer, replays, and leaves nothing behind."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from penstock.bench.cache.answers import Answers, draw_changing
from penstock.bench.cache.cache_client import CacheClient, Outcome, OwnCount
from penstock.bench.cache.error_sequence import ErrorSequence, error_over_time
from penstock.bench.cache.figures import ReplayFigures, compute_figures
from penstock.bench.cache.oracle import oracle_answered_rate, oracle_hit_rate
from penstock.bench.cache.paraphrases import Paraphrase, ParaphraseSet
from penstock.bench.cache.policy import Policy, PolicyKind, policies_to_compare
from penstock.bench.cache.replay import Replay
from penstock.bench.cache.settings import Labels, ReplaySettings
from penstock.bench.cache.traffic import make_traffic

_PROBE = "are answers found"
_PROBE_POLICY = Policy(PolicyKind.MIN_SIMILARITY, 0.5)
_PAUSE_S = 0.2
# The reason of a service that is going to have a semantic layer; with any other there is little to wait for.
_LOADING = "the encoder is being loaded"
_LOADING_PATIENCE_S = 180.0


class NoSemanticLayerError(Exception):
    """The service answers, and finds nothing by meaning; the message is its reason."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        policy: that replays now.
        number: of its replay, from 1.
        num_replays: in all.
        num_ended: requests of this replay.
        num_requests: in each replay.
        num_hits: semantic ones so far in this replay.
        num_wrong: of those.
    """

    policy: Policy
    number: int
    num_replays: int
    num_ended: int
    num_requests: int
    num_hits: int
    num_wrong: int

    @property
    def share_done(self) -> float:
        """Of this replay."""
        return self.num_ended / self.num_requests


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One replay."""

    policy: Policy
    figures: ReplayFigures
    own_count: OwnCount


@dataclass(frozen=True, slots=True)
class RunResult:
    """The replay that was asked for, its error over time, those beside it, and what an oracle would reach."""

    main: PolicyResult
    sequence: ErrorSequence
    compared: tuple[PolicyResult, ...]
    oracle_hit_rate: float | None
    oracle_answered_rate: float | None


class CacheBench:
    """One run against one service.

    Args:
        client: of the service.
        data: what to ask.
        settings: how.

    Raises:
        ValueError: the data has not as many prompts as the settings want.
    """

    def __init__(self, client: CacheClient, data: ParaphraseSet, settings: ReplaySettings) -> None:
        self._client = client
        self._settings = settings
        self._traffic: list[Paraphrase] = make_traffic(
            data.prompts, settings.traffic, num_requests=settings.num_requests, seed=settings.seed
        )
        self._answers = Answers(
            data.answers,
            changing=draw_changing(data.answers, settings.drift, settings.seed),
            change_at=len(self._traffic) // 2,
            is_reworded=settings.labels is Labels.PRODUCTION,
            seed=settings.seed,
        )

    def run(self, on_progress: Callable[[Progress], None], *, patience_s: float) -> RunResult:
        """Replays everything.

        Args:
            on_progress: is told after each request.
            patience_s: how long the semantic layer may take to come; more while its encoder is loaded.

        Raises:
            PenstockError: a call failed.
            NoSemanticLayerError: the service has no semantic layer.
        """
        self._wait_for_semantic_layer(patience_s)
        policies = [Policy(PolicyKind.MAX_ERROR_RATE, self._settings.max_error_rate)]
        if self._settings.is_compared:
            policies += policies_to_compare(self._settings.max_error_rate)
        results = []
        for number, policy in enumerate(policies, 1):
            results.append(self._replay(policy, (number, len(policies)), on_progress))
        main, *compared = results
        sequence = error_over_time(main.figures.was_wrong, self._settings.max_error_rate)
        return RunResult(
            main,
            sequence,
            tuple(compared),
            oracle_hit_rate(self._traffic, self._answers),
            oracle_answered_rate(self._traffic, self._answers),
        )

    def _replay(self, policy: Policy, place: tuple[int, int], on_progress: Callable[[Progress], None]) -> PolicyResult:
        with self._tenant() as tenant:
            replay = Replay(
                self._client,
                tenant=tenant,
                policy=policy,
                answers=self._answers,
                labels=self._settings.labels,
                label_noise=self._settings.label_noise,
                seed=self._settings.seed,
            )
            num_hits = num_wrong = 0

            def tell() -> None:
                nonlocal num_hits, num_wrong
                num_hits += replay.records[-1].is_hit
                num_wrong += replay.records[-1].is_wrong
                on_progress(Progress(policy, *place, len(replay.records), len(self._traffic), num_hits, num_wrong))

            replay.run(self._traffic, tell)
            own_count = self._client.own_count(tenant)
            figures = compute_figures(
                replay.records,
                num_semantic_lookups=own_count.num_semantic_lookups,
                max_error_rate=self._settings.max_error_rate,
            )
            return PolicyResult(policy, figures, own_count)

    def _wait_for_semantic_layer(self, patience_s: float) -> None:
        """An encoder takes seconds to load, and the exact layer serves meanwhile."""
        began_s = time.monotonic()
        with self._tenant() as tenant:
            while True:
                self._client.put(tenant, _PROBE, _PROBE)
                looked = self._client.look_up(tenant, f"{_PROBE} now", _PROBE_POLICY)
                if looked.outcome is Outcome.SEMANTIC_HIT:
                    return
                allowed_s = _LOADING_PATIENCE_S if looked.reason == _LOADING else patience_s
                if time.monotonic() - began_s > allowed_s:
                    raise NoSemanticLayerError(looked.reason)
                time.sleep(_PAUSE_S)

    @contextmanager
    def _tenant(self) -> Iterator[str]:
        """A tenant that nobody else has; all that it stored is removed."""
        tenant = f"bench-{secrets.token_hex(8)}"
        try:
            yield tenant
        finally:
            self._client.remove(tenant)
