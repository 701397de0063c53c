"""How often the cache says that it is wrong."""

import random

import pytest

from penstock_cache.decision.audits import Audits
from penstock_cache.decision.error_estimate import ErrorEstimate, lower_bound, upper_bound
from penstock_cache.decision.label_noise import LabelNoise


def _estimate(seed: int, *, num_requests: int = 4000) -> tuple[ErrorEstimate, int, bool]:
    """Hits of which each fiftieth is wrong, the wrong ones audited oftener; whether the bound ever failed."""
    rng, estimate, num_wrong, has_failed = random.Random(seed), ErrorEstimate(), 0, False
    for number in range(num_requests):
        is_wrong = rng.random() < 0.02
        propensity = 0.1 if is_wrong else 0.04
        is_audited = rng.random() < propensity
        estimate.decided(is_served=not is_audited)
        if is_audited:
            estimate.audited(propensity=propensity, is_correct=not is_wrong)
        num_wrong += is_wrong and not is_audited
        if number % 50 == 0:
            has_failed |= estimate.error_rate_bound() * estimate.num_requests < num_wrong
    return estimate, num_wrong, has_failed


def test_the_estimate_is_unbiased_though_wrong_hits_are_audited_oftener() -> None:
    """The mean over many runs is the truth."""
    runs = [_estimate(seed)[:2] for seed in range(30)]
    estimated = sum(run.num_wrong for run, _ in runs)
    assert estimated == pytest.approx(sum(num_wrong for _, num_wrong in runs), rel=0.1)


def test_the_bound_holds_at_every_moment() -> None:
    """In at least 95 of 100 runs; in each of these thirty."""
    assert not any(_estimate(seed)[2] for seed in range(30))


def test_bounds_enclose_a_count_and_close_in() -> None:
    """Of plain counts: a hundred errors seen."""
    lower = lower_bound(100.0, largest=1.0, failure_chance=0.05)
    upper = upper_bound(100.0, largest=1.0, failure_chance=0.05)
    assert 65 < lower < 100 < upper < 145
    assert upper_bound(0.0, largest=1.0, failure_chance=0.05) < 6.5


def test_audits_that_find_more_errors_than_expected_raise_all_risks() -> None:
    """And none found, where some were expected, lowers them."""
    audits = Audits(LabelNoise())
    assert audits.correction == 1.0
    for _ in range(20):
        audits.learn(risk=0.05, wrong=0.2, propensity=0.03)
    assert audits.correction > 1.5
    calm = Audits(LabelNoise())
    for _ in range(60):
        calm.learn(risk=0.05, wrong=0.0, propensity=0.03)
    assert 0.7 < calm.correction < 0.8, "a few without a mistake may be luck"
    for _ in range(400):
        calm.learn(risk=0.05, wrong=0.0, propensity=0.03)
    assert calm.correction < 0.5


def test_what_is_riskier_is_audited_oftener() -> None:
    """There the errors are."""
    audits = Audits(LabelNoise())
    assert audits.rate(0.0) == 0.01
    assert audits.rate(0.09) > 4 * audits.rate(0.0)


def test_audits_that_noise_explains_change_no_risk() -> None:
    """One in ten is labelled wrong, as labels are: neither are risks raised for it, nor lowered for less."""
    audits = Audits(LabelNoise(0.1, 0.1))
    for number in range(100):
        audits.learn(risk=0.03, wrong=float(number % 10 == 0), propensity=0.03)
    assert audits.correction == 1.0
