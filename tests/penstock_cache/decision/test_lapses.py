"""The floor of mistakes that no score foresees."""

import random

import pytest

from penstock_cache.decision.label_noise import LabelNoise
from penstock_cache.decision.lapses import Lapses


def test_a_floor_is_found_below_mistakes_that_scores_foresee() -> None:
    """Labels of good and of middling candidates, a tenth of which fail for no reason of the score."""
    lapses, rng = Lapses(share=0.003, num_labels=100, noise=LabelNoise()), random.Random(1)
    for _ in range(3000):
        probability = rng.choice([0.99, 0.7])
        is_correct = rng.random() < 0.9 * probability
        lapses.learn(probability=probability, is_correct=is_correct, weight=1.0)
    assert lapses.share == pytest.approx(0.1, abs=0.03)


def test_mistakes_that_scores_foresee_are_no_lapses() -> None:
    """Else hard traffic would take the trust from easy traffic."""
    lapses, rng = Lapses(share=0.003, num_labels=100, noise=LabelNoise()), random.Random(2)
    for _ in range(2000):
        lapses.learn(probability=0.7, is_correct=rng.random() < 0.7, weight=1.0)
    assert lapses.share < 0.01


def test_a_failure_at_the_top_is_likelier_a_lapse_than_one_in_the_middle() -> None:
    """So it does not bend the curve for all scores."""
    chances = [
        Lapses(share=0.01, num_labels=100, noise=LabelNoise()).learn(
            probability=probability, is_correct=False, weight=1.0
        )
        for probability in (0.999, 0.7)
    ]
    assert chances[0] > 0.9
    assert chances[1] < 0.05


def test_wrong_labels_that_noise_explains_are_no_lapses() -> None:
    """One in twenty of the best candidates is labelled wrong, as labels are: there is no floor of mistakes."""
    lapses, rng = Lapses(share=0.003, num_labels=100, noise=LabelNoise(0.05, 0.05)), random.Random(3)
    for _ in range(3000):
        lapses.learn(probability=0.999, is_correct=rng.random() > 0.05, weight=1.0)
    assert lapses.share < 0.01
