"""Answers that change."""

from penstock_cache.decision.label_noise import LabelNoise
from penstock_cache.decision.staleness import Staleness


def _checked(staleness: Staleness, *, begin_s: float, end_s: float, is_correct: bool) -> None:
    staleness.learn(checked_s=begin_s, now_s=end_s, probability=0.98, is_correct=is_correct)


def _after_a_change_at_1000() -> Staleness:
    """Checks each second; three in ten of the answers that were last checked before second 1000 are outdated then."""
    staleness = Staleness(LabelNoise())
    for now in range(200, 1000):
        _checked(staleness, begin_s=now - 200, end_s=now, is_correct=True)
    for now in range(1000, 1040):
        _checked(staleness, begin_s=now - 200, end_s=now, is_correct=now % 10 >= 3)
    for now in range(1040, 1100):
        _checked(staleness, begin_s=now - 40, end_s=now, is_correct=True)
    return staleness


def test_in_calm_times_old_answers_are_trusted() -> None:
    """Else every answer would have to be asked for again and again."""
    staleness = Staleness(LabelNoise())
    for now in range(200, 1000):
        _checked(staleness, begin_s=now - 200, end_s=now, is_correct=True)
    assert staleness.chance(0.0, 0.0) < 0.01


def test_after_a_change_what_was_checked_before_it_is_doubted() -> None:
    """A dozen failed checks tell of all the answers that nobody has checked yet."""
    assert 0.15 < _after_a_change_at_1000().chance(900.0, 0.0) < 0.5


def test_after_a_change_what_was_checked_since_is_trusted_again() -> None:
    """The doubt is about a time, not about all answers for good."""
    assert _after_a_change_at_1000().chance(1060.0, 0.0) < 0.03


def test_failures_of_doubtful_candidates_are_no_sign_of_change() -> None:
    """They were to be expected."""
    staleness = Staleness(LabelNoise())
    for now in range(200, 800):
        staleness.learn(checked_s=now - 200.0, now_s=float(now), probability=0.6, is_correct=now % 5 >= 2)
    assert staleness.chance(600.0, 0.0) < 0.05


def test_a_check_that_succeeds_clears_an_answer() -> None:
    """And one that fails against all expectation convicts it."""
    staleness = Staleness(LabelNoise())
    assert staleness.update(0.3, 0.98, is_correct=True) < 0.02
    assert staleness.update(0.3, 0.98, is_correct=False) > 0.9


def test_failures_now_and_then_are_noise_not_change() -> None:
    """One check in twenty fails, of answers old and new: nothing has happened at any time."""
    staleness = Staleness(LabelNoise(0.05, 0.05))
    for now in range(200, 1000):
        _checked(staleness, begin_s=now - 200, end_s=now, is_correct=now % 20 != 7)
    assert staleness.chance(0.0, 0.0) < 0.01


def test_one_failure_amid_noisy_labels_convicts_nothing() -> None:
    """It is as likely a label that lies as an answer that changed; without noise it is a change."""
    doubts = [Staleness(noise).update(0.05, 0.98, is_correct=False) for noise in (LabelNoise(0.05, 0.05), LabelNoise())]
    assert doubts[0] < 0.5 < doubts[1]
