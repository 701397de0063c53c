"""From scored matches to what is done: by a bound on errors, or by a threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.semantic.matches import Match
from penstock_cache.semantic.question import Outcome, Policy, PolicyKind


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is done with one match, and why.

    Attributes:
        match: the chosen one.
        outcome: SERVE, EXPLORE, or MISS.
        reason: in a few words.
        score: logit that its answer serves, by what decided.
        probability: the same as a probability, by what was learned.
        error_bound: of the probability that it does not, where the bound decided.
        propensity: the probability with which such a request is explored.
    """

    match: Match
    outcome: Outcome
    reason: str
    score: float
    probability: float
    error_bound: float | None = None
    propensity: float = 1.0


def judge(matches: Sequence[Match], policy: Policy, decider: Decider, prompt_key: bytes) -> Judgement:
    """What is done with one of the matches, of which there is at least one."""
    if policy.kind is not PolicyKind.MAX_ERROR_RATE:
        return _by_threshold(matches, policy)
    decision = decider.decide(_candidates(matches), max_error_rate=policy.value, prompt_key=prompt_key)
    return _by_decision(matches, decision)


def foresee(matches: Sequence[Match], policy: Policy, decider: Decider, prompt_key: bytes) -> Judgement:
    """What `judge` would say were the request not drawn for an audit. Changes nothing."""
    if policy.kind is not PolicyKind.MAX_ERROR_RATE:
        return _by_threshold(matches, policy)
    decision = decider.assess(_candidates(matches), max_error_rate=policy.value, prompt_key=prompt_key)
    return _by_decision(matches, decision)


def probability_of(match: Match) -> float:
    """The verifier's own opinion, before anything is learned."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, match.score))))


def _candidates(matches: Sequence[Match]) -> list[Candidate]:
    return [Candidate(match.neighbour.cluster, match.score, match.neighbour.created_s) for match in matches]


def _by_threshold(matches: Sequence[Match], policy: Policy) -> Judgement:
    if policy.kind is PolicyKind.MIN_SIMILARITY:
        best = max(matches, key=lambda match: match.neighbour.similarity)
        name, value = "similarity", best.neighbour.similarity
    else:
        best = max(matches, key=lambda match: match.score)
        name, value = "score", probability_of(best)
    is_served = value >= policy.value
    reason = f"{name} {value:.3f} {'reaches' if is_served else 'is below'} the threshold of {policy.value:g}"
    return Judgement(best, Outcome.SERVE if is_served else Outcome.MISS, reason, best.score, probability_of(best))


def _by_decision(matches: Sequence[Match], decision: Decision) -> Judgement:
    return Judgement(
        matches[decision.index],
        Outcome.SERVE if decision.kind is DecisionKind.SERVE else Outcome.EXPLORE,
        decision.reason,
        decision.score,
        decision.probability,
        decision.error_bound,
        decision.propensity,
    )
