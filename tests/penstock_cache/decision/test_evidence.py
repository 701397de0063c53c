"""What candidates say of each other."""

import math

import pytest

from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.evidence import Evidence, EvidenceWeights, weigh

_WEIGHTS = EvidenceWeights(witness=0.6, lag=0.5, rivals=1.0)


def _of(*candidates: tuple[str, float], outdated: tuple[float, ...] | None = None) -> list[Evidence]:
    known = [Candidate(cluster, score, 0.0) for cluster, score in candidates]
    return weigh(known, outdated or [0.0] * len(known), _WEIGHTS)


def test_a_lone_candidate_is_what_its_score_says() -> None:
    """There is nothing else to go by."""
    assert _of(("a", 2.0)) == [Evidence(0, 2.0)]


def test_each_cluster_speaks_through_its_best_candidate() -> None:
    """A cluster has one answer; how often it is stored is no reason to serve it twice."""
    assert [each.index for each in _of(("a", 1.0), ("b", 0.5), ("a", 3.0))] == [2, 1]


def test_a_witness_counts_the_less_the_more_it_lags() -> None:
    """Two near prompts with one answer are better than one, two that differ much are not."""
    near, far = _of(("a", 3.0), ("a", 2.8))[0].score, _of(("a", 3.0), ("a", 0.0))[0].score
    assert near == pytest.approx(3.5)
    assert far < 3.0


def test_of_two_answers_that_claim_a_prompt_one_must_be_wrong() -> None:
    """With weight one the odds are those of exactly one being right: near misses show by this."""
    first, second = _of(("a", 2.0), ("b", 2.0))
    odds = math.exp(2.0) / (1 + math.exp(2.0))
    assert [math.exp(each.score) for each in (first, second)] == pytest.approx([odds, odds])


def test_an_outdated_answer_is_no_rival() -> None:
    """After a change the old answer and the new one claim the same prompts: the new one must not lose by it."""
    assert _of(("new", 2.0), ("old", 2.0), outdated=(0.0, 1.0))[0].score == pytest.approx(2.0)


@pytest.mark.parametrize("score", [1e9, -1e9])
def test_no_score_breaks_the_arithmetic(score: float) -> None:
    """A verifier's overflow must not stop lookups."""
    assert len(_of(("a", score), ("b", 1.0))) == 2
