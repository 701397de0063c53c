"""Short replays of the traffic that the decider has to bear, each seeded; the bench runs longer ones of many seeds."""

import numpy as np
import pytest
from decision_bench.figures import figures, running_errors
from decision_bench.replay import Outcome
from decision_bench.scenarios import Run, Scenario
from decision_bench.world import Verifier


def _changed_requests(run: Run) -> np.ndarray:
    """Positions of the requests of changed classes, from the change on."""
    assert run.change is not None
    theirs = np.isin(run.result.klass, list(run.change.classes))
    return np.flatnonzero(theirs & (np.arange(len(theirs)) >= run.change.at_request))


@pytest.mark.parametrize("max_error_rate", [0.01, 0.03])
def test_the_error_rate_is_kept_and_used(max_error_rate: float) -> None:
    """Each prompt once, from a cold start: that is the promise, and a cache that never serves keeps it too easily."""
    seen = figures(Scenario(max_error_rate=max_error_rate).uniform(2).result, max_error_rate)
    assert seen.error_rate <= max_error_rate
    assert seen.hit_rate > 0.25


def test_a_verifier_that_is_too_sure_is_found_out() -> None:
    """Logits twice as large as they should be: taken at their word they would let the error rate run to a multiple."""
    run = Scenario(verifier=Verifier(slope=2.0, offset=1.5)).uniform(2)
    assert figures(run.result, 0.01).error_rate <= 0.012


def test_near_misses_that_the_verifier_overlooks_are_paid_for_with_hits() -> None:
    """One in twenty scores like the best pairs: then the best scores are not the safe ones."""
    run = Scenario(verifier=Verifier(overlooked=0.05)).uniform(0)
    assert not running_errors(run.result, 0.01).is_proven_above
    assert figures(run.result, 0.01).error_rate <= 0.015


def test_wrong_labels_do_not_raise_the_error_rate() -> None:
    """One label in twenty says the opposite, as comparing answers does in production."""
    assert figures(Scenario(label_noise=0.05).uniform(3).result, 0.01).error_rate <= 0.015


def test_prompts_that_come_again_are_not_wrong_again_and_again() -> None:
    """A few prompts make up most of Zipf traffic: one mistake about such a prompt must not become a hundred errors."""
    result = Scenario(num_requests=6000).zipf(1).result
    assert not running_errors(result, 0.01).is_proven_above
    assert figures(result, 0.01).error_rate <= 0.01
    assert figures(result, 0.01).all_hit_rate > 0.8


def test_answers_that_change_are_noticed() -> None:
    """Three in ten change at once. Within 500 of their requests the error rate is back, and so are most of the hits."""
    run = Scenario(num_requests=4000, num_classes=100).drift(2)
    theirs = _changed_requests(run)
    wrong = np.array(run.result.is_wrong)
    assert wrong[theirs[500:]].mean() <= 0.01
    assert (np.array(run.result.outcome)[theirs[500:]] == Outcome.SERVED).mean() > 0.4


def test_a_burst_of_near_misses_after_a_calm_stretch_stays_within_the_allowed_errors() -> None:
    """Trust that was earned by easy traffic is no credit for hard traffic."""
    scenario = Scenario(num_requests=1000, num_classes=600)
    result = scenario.burst(1).result
    wrong = np.array(result.is_wrong)
    assert (np.array(result.outcome)[:1000] == Outcome.SERVED).mean() > 0.4
    assert wrong.cumsum()[500:].max() <= 0.01 * len(wrong)
    assert wrong[1000:].sum() <= 10
