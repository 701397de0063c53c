"""What scores come to mean."""

import math
import random

import pytest

from penstock_cache.decision.calibration import Calibration, sigmoid
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.effect import Effect
from penstock_cache.decision.label_noise import LabelNoise

_NO_EFFECT = Effect(0.0, 1e-9)


def test_before_labels_a_score_is_the_logit_that_the_verifier_says() -> None:
    """A calibrated verifier is useful at once; the doubt about it draws its probability towards one half."""
    logit = Calibration(CalibrationPrior(mean=(0.0, 1.0, 0.0, 0.0, 0.0))).logit(3.0, _NO_EFFECT)
    assert logit.mean == 3.0
    assert 0.5 < logit.probability < sigmoid(3.0)


@pytest.mark.parametrize("score", [float("inf"), float("nan"), -1e9])
def test_no_score_breaks_the_arithmetic(score: float) -> None:
    """A verifier's overflow must not poison what is learned."""
    calibration = Calibration(CalibrationPrior())
    calibration.learn(score, _NO_EFFECT, is_correct=False, weight=1.0)
    assert 0 <= calibration.logit(1.0, _NO_EFFECT).probability <= 1


def test_scores_that_promise_too_much_are_seen_through() -> None:
    """After a few hundred labels the probabilities are those of the traffic, not of the verifier."""
    calibration, rng = Calibration(CalibrationPrior()), random.Random(3)
    for _ in range(800):
        score = rng.uniform(-4, 8)
        calibration.learn(score, _NO_EFFECT, is_correct=rng.random() < sigmoid(0.5 * score - 1), weight=1.0)
    learned = [calibration.logit(score, _NO_EFFECT).probability for score in (1.0, 4.0, 6.0)]
    assert learned == pytest.approx([sigmoid(-0.5), sigmoid(1.0), sigmoid(2.0)], abs=0.07)


def test_the_best_scores_may_be_the_worse_ones() -> None:
    """Near misses can lie closer than paraphrases: then the curve bends down, as no single slope could."""
    calibration, rng = Calibration(CalibrationPrior()), random.Random(4)
    for _ in range(800):
        score = rng.uniform(-3, 7)
        is_correct = rng.random() < (0.6 if score > 4 else sigmoid(2 * score))
        calibration.learn(score, _NO_EFFECT, is_correct=is_correct, weight=1.0)
    assert calibration.logit(3.0, _NO_EFFECT).probability > 0.85
    assert calibration.logit(6.5, _NO_EFFECT).probability < 0.75


def test_a_cluster_with_failures_is_doubted_and_one_that_proved_right_is_not() -> None:
    """Others with the same scores are drawn along a little only."""
    calibration = Calibration(CalibrationPrior())
    good = bad = other = Effect(0.0, 0.5)
    for _ in range(6):
        good = calibration.learn(2.0, good, is_correct=True, weight=1.0)
        bad = calibration.learn(2.0, bad, is_correct=False, weight=1.0)
    chances = [calibration.logit(2.0, effect).probability for effect in (bad, other, good)]
    assert chances == sorted(chances)
    assert chances[2] - chances[0] > 0.3


@pytest.mark.parametrize("is_correct", [True, False])
@pytest.mark.parametrize("noise", [LabelNoise(), LabelNoise(0.1, 0.03)])
def test_a_step_goes_to_the_mode_of_the_posterior_of_one_label(noise: LabelNoise, is_correct: bool) -> None:
    """Along the line of the logit: compared with a fine grid."""
    prior = CalibrationPrior(mean=(0.5, 0.0), deviation=(1.0, 1e-6), knees=(), noise=noise)
    calibration = Calibration(prior)
    calibration.learn(0.0, Effect(0.0, 1e-12), is_correct=is_correct, weight=1.0)
    grid = [step / 1000 for step in range(-6000, 6001)]

    def posterior(logit: float) -> float:
        return math.log(noise.chance(sigmoid(logit), is_correct=is_correct)) - (logit - 0.5) ** 2 / 2

    assert calibration.logit(0.0, Effect(0.0, 0.0)).mean == pytest.approx(max(grid, key=posterior), abs=1e-3)


def test_noisy_labels_do_not_take_the_trust_from_what_is_right() -> None:
    """One in twenty says "wrong" of pairs that are all right: as many as the comparison of answers errs."""
    chances = []
    for noise in (LabelNoise(), LabelNoise(0.05, 0.05)):
        calibration = Calibration(CalibrationPrior(noise=noise))
        for number in range(600):
            calibration.learn(4.0, _NO_EFFECT, is_correct=number % 20 != 7, weight=1.0)
        chances.append(calibration.logit(4.0, _NO_EFFECT).probability)
    assert chances[0] < 0.96
    assert chances[1] > 0.98


def test_more_failures_than_noise_explains_are_believed() -> None:
    """Noise is no excuse for a verifier that is wrong in one case of four."""
    calibration = Calibration(CalibrationPrior(noise=LabelNoise(0.05, 0.05)))
    for number in range(600):
        calibration.learn(4.0, _NO_EFFECT, is_correct=number % 4 != 0, weight=1.0)
    assert calibration.logit(4.0, _NO_EFFECT).probability == pytest.approx((0.75 - 0.05) / 0.9, abs=0.04)
