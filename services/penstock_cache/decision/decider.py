"""Serve or explore: keeps the error rate that requests allow, with the most hits that this leaves room for."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock_cache.decision.audits import Audits
from penstock_cache.decision.belief import Belief
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.decision.error_account import ErrorAccount
from penstock_cache.decision.error_estimate import ErrorEstimate
from penstock_cache.decision.evidence import weigh
from penstock_cache.decision.label import Label
from penstock_cache.decision.repeats import Repeats
from penstock_cache.decision.risk_window import RiskWindow
from penstock_cache.decision.tuning import Tuning

_MIN_ERROR_RATE = 1e-6
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class _Assessment:
    """The best candidate: where it stands, what is known, and what is thought of it."""

    index: int
    score: float
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
        self._evidence = prior.evidence
        self._belief = Belief(prior, max_clusters=self._tuning.max_clusters)
        self._audits = Audits(prior.noise)
        self._window = RiskWindow(self._tuning.window)
        self._repeats = Repeats(capacity=self._tuning.max_prompts)
        self._accounts: dict[int, ErrorAccount] = {}
        self.estimate = ErrorEstimate()

    def __repr__(self) -> str:
        return f"Decider(clusters={self._belief.num_clusters}, accounts={self._accounts})"

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
        lesson = self._belief.learn(label)
        if label.propensity < 1:
            wrong = 0.0 if label.is_correct else 1 - lesson.stale
            self._audits.learn(risk=1 - lesson.probability, wrong=wrong, propensity=label.propensity)

    def _best(self, candidates: Sequence[Candidate]) -> _Assessment:
        outdated = [self._belief.outdated(each.cluster, each.created_s) for each in candidates]
        assessed = []
        for evidence in weigh(candidates, outdated, self._evidence):
            candidate = candidates[evidence.index]
            probability, lower = self._belief.assess(candidate.cluster, evidence.score, candidate.created_s)
            assessed.append(_Assessment(evidence.index, evidence.score, probability, 1 - lower))
        return max(assessed, key=lambda each: each.probability)

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
                decision.score,
                decision.probability,
                decision.error_bound,
                decision.propensity,
                "drawn to measure the error",
            )
        return decision


def _decision(kind: DecisionKind, best: _Assessment, propensity: float, reason: str) -> Decision:
    return Decision(kind, best.index, best.score, best.probability, best.error_bound, propensity, reason)
