"""Serve or explore: keeps the error rate that requests allow, with the most hits that this leaves room for."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock_cache.decision.audits import Audits
from penstock_cache.decision.calibration import Calibration
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.clusters import Clusters, ClusterState
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.decision.error_account import ErrorAccount
from penstock_cache.decision.error_estimate import ErrorEstimate
from penstock_cache.decision.label import Label
from penstock_cache.decision.lapses import Lapses
from penstock_cache.decision.repeats import Repeats
from penstock_cache.decision.risk_window import RiskWindow
from penstock_cache.decision.staleness import Staleness
from penstock_cache.decision.tuning import Tuning

_BOUND_DEVIATIONS = 1.645
_MIN_ERROR_RATE = 1e-6
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class _Assessment:
    """The best candidate: where it stands, what is known, and what is thought of it."""

    index: int
    probability: float
    error_bound: float

    @property
    def risk(self) -> float:
        return 1 - self.probability


class Decider:
    """Decides for one tenant and one model. No I/O, and no clock: times come with candidates and labels.

    The same calls with the same generator decide the same. docs/semantic-cache.md has the mathematics.

    Args:
        rng: draws the audits.
        prior: what scores mean before anything was learned.
        tuning: its numbers.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        prior: CalibrationPrior | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        prior = prior or CalibrationPrior()
        self._tuning = tuning or Tuning()
        self._rng = rng
        self._calibration = Calibration(prior)
        self._clusters = Clusters(capacity=self._tuning.max_clusters, deviation=prior.cluster_deviation)
        self._staleness = Staleness()
        self._lapses = Lapses(share=prior.lapse_share, num_labels=prior.lapse_labels)
        self._audits = Audits()
        self._window = RiskWindow(self._tuning.window)
        self._repeats = Repeats(capacity=self._tuning.max_prompts)
        self._accounts: dict[int, ErrorAccount] = {}
        self.estimate = ErrorEstimate()

    def __repr__(self) -> str:
        return f"Decider(clusters={len(self._clusters)}, accounts={self._accounts})"

    def assess(self, candidates: Sequence[Candidate], *, max_error_rate: float, prompt_key: bytes = b"") -> Decision:
        """What `decide` would say were the request not drawn for an audit. Changes nothing."""
        return self._judge(self._best(candidates), max_error_rate, prompt_key)

    def _judge(self, best: _Assessment, max_error_rate: float, prompt_key: bytes) -> Decision:
        reason = self._objection(best, max_error_rate, prompt_key)
        if reason:
            return _decision(DecisionKind.EXPLORE, best, 1.0, reason)
        return _decision(DecisionKind.SERVE, best, self._audits.rate(best.error_bound), "its risk is affordable")

    def decide(self, candidates: Sequence[Candidate], *, max_error_rate: float, prompt_key: bytes = b"") -> Decision:
        """Chooses among the candidates of a request, and what to do with the choice.

        Args:
            candidates: at least one.
            max_error_rate: largest share of wrong hits that the request's sender accepts, in (0, 1].
            prompt_key: tells the same prompt from another one, as a digest of it does; empty: every prompt is new.
        """
        best = self._best(candidates)
        account = self._account(max_error_rate)
        account.begin(max_error_rate)
        self._window.add(self._stake(best, prompt_key), best.risk)
        decision = self._drawn(self._judge(best, max_error_rate, prompt_key))
        is_served = decision.kind is DecisionKind.SERVE
        self.estimate.decided(is_served=is_served)
        if is_served:
            account.served(best.risk)
        if prompt_key:
            (self._repeats.served if is_served else self._repeats.forget)(prompt_key)
        return decision

    def learn(self, label: Label) -> None:
        """Takes in what an exploration showed."""
        self._learn(label)
        if label.propensity < 1:
            self.estimate.audited(propensity=label.propensity, is_correct=label.is_correct)

    def restore(self, labels: Iterable[Label]) -> None:
        """Learns again what was learned before a restart, oldest first. What was counted begins anew."""
        for label in labels:
            self._learn(label)

    def _learn(self, label: Label) -> None:
        known = self._clusters.state(label.cluster, label.time_s)
        logit = self._calibration.logit(label.score, known.effect)
        sound = (1 - self._lapses.share) * logit.probability
        chance = self._staleness.chance(known.checked_s, known.stale_chance)
        stale = self._staleness.update(chance, sound, is_correct=label.is_correct)
        if known.stale_chance < _EVEN and sound > _EVEN:
            self._staleness.learn(
                checked_s=known.checked_s, now_s=label.time_s, probability=sound, is_correct=label.is_correct
            )
        if label.propensity < 1:
            wrong = 0.0 if label.is_correct else 1 - stale
            self._audits.learn(risk=1 - (1 - chance) * sound, wrong=wrong, propensity=label.propensity)
        lapse = self._lapses.learn(probability=logit.probability, is_correct=label.is_correct, weight=1 - stale)
        weight = (1 - stale) * (1 - lapse)
        effect = self._calibration.learn(label.score, known.effect, is_correct=label.is_correct, weight=weight)
        self._clusters.put(label.cluster, ClusterState(effect, label.time_s, stale))

    def _best(self, candidates: Sequence[Candidate]) -> _Assessment:
        assessed = [self._assess_one(index, candidate) for index, candidate in enumerate(candidates)]
        return max(assessed, key=lambda each: each.probability)

    def _assess_one(self, index: int, candidate: Candidate) -> _Assessment:
        known = self._clusters.state(candidate.cluster, candidate.created_s)
        sound = 1 - self._staleness.chance(known.checked_s, known.stale_chance)
        sound *= 1 - self._lapses.share
        logit = self._calibration.logit(candidate.score, known.effect)
        return _Assessment(index, sound * logit.probability, 1 - sound * logit.lower(_BOUND_DEVIATIONS))

    def _stake(self, best: _Assessment, prompt_key: bytes) -> float:
        """Risk that a prompt has run up since it was last explored, were it served now."""
        return best.risk * (1 + self._tuning.stake_of_repeat * self._repeats.num_served(prompt_key))

    def _objection(self, best: _Assessment, max_error_rate: float, prompt_key: bytes) -> str:
        """Why the candidate is not to be served; empty where it may be."""
        if best.risk >= _EVEN:
            return "more likely wrong than right"
        target = self._tuning.safety * max_error_rate
        correction = self._audits.correction
        if correction * self._window.expected_error_rate(self._stake(best, prompt_key)) > target:
            return "too risky beside other requests"
        if not self._account(max_error_rate).can_bear(best.risk, correction):
            return "the allowed errors are used up"
        return ""

    def _account(self, max_error_rate: float) -> ErrorAccount:
        """One for each rate, to one part in ten: a lenient sender's mistakes are not on a strict one's account."""
        rung = math.floor(10 * math.log(max(max_error_rate, _MIN_ERROR_RATE)))
        return self._accounts.get(rung) or self._accounts.setdefault(rung, ErrorAccount(horizon=self._tuning.horizon))

    def _drawn(self, decision: Decision) -> Decision:
        if decision.kind is DecisionKind.SERVE and self._rng.random() < decision.propensity:
            return Decision(
                DecisionKind.EXPLORE,
                decision.index,
                decision.probability,
                decision.error_bound,
                decision.propensity,
                "drawn to measure the error",
            )
        return decision


def _decision(kind: DecisionKind, best: _Assessment, propensity: float, reason: str) -> Decision:
    return Decision(kind, best.index, best.probability, best.error_bound, propensity, reason)
