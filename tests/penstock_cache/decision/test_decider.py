"""What the decider promises to a single request."""

import random

import pytest

from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.decision import DecisionKind
from penstock_cache.decision.label import Label


@pytest.fixture
def decider() -> Decider:
    """One that knows nothing yet."""
    return Decider(rng=random.Random(1))


def _label(score: float, *, is_correct: bool, cluster: str = "c", propensity: float = 1.0) -> Label:
    return Label(cluster, score, is_correct, propensity, 1000.0)


def test_the_first_request_is_explored(decider: Decider) -> None:
    """Nothing is known of the traffic yet: a start must not be a string of errors."""
    decision = decider.decide([Candidate("c", 3.0, 1000.0)], max_error_rate=0.01)
    assert (decision.kind, decision.propensity) == (DecisionKind.EXPLORE, 1.0)


def test_what_is_more_likely_wrong_than_right_is_never_served(decider: Decider) -> None:
    """Whatever its sender accepts."""
    decisions = [decider.decide([Candidate("c", -1.0, 1000.0)], max_error_rate=1.0) for _ in range(50)]
    assert {decision.kind for decision in decisions} == {DecisionKind.EXPLORE}


def test_the_most_probable_candidate_is_chosen_not_the_highest_score(decider: Decider) -> None:
    """A cluster that was often wrong is passed over for one that was right."""
    for _ in range(5):
        decider.learn(_label(2.0, is_correct=False, cluster="bad"))
        decider.learn(_label(2.0, is_correct=True, cluster="good"))
    candidates = [Candidate("bad", 2.2, 1000.0), Candidate("good", 2.0, 1000.0)]
    assert decider.assess(candidates, max_error_rate=0.1).index == 1


def test_assessing_changes_nothing(decider: Decider) -> None:
    """Who asks for an explanation does not shift what the next one gets."""
    candidates = [Candidate("c", 4.0, 1000.0)]
    asked = Decider(rng=random.Random(1))
    for _ in range(30):
        asked.assess(candidates, max_error_rate=0.05)
        one = decider.decide(candidates, max_error_rate=0.05)
        assert asked.decide(candidates, max_error_rate=0.05) == one


def test_labels_of_a_store_give_back_what_was_learned(decider: Decider) -> None:
    """After a restart a cluster is trusted, or not, as before."""
    labels = [_label(score, is_correct=score > 0, cluster=f"c{score}") for score in (-2.0, 1.0, 3.0, 4.0)] * 5
    for label in labels:
        decider.learn(label)
    restored = Decider(rng=random.Random(1))
    restored.restore(labels)
    asked = [Candidate("c1.0", 1.0, 1000.0)]
    assert restored.assess(asked, max_error_rate=0.05) == decider.assess(asked, max_error_rate=0.05)


_GOOD, _DOUBTFUL = [Candidate("new", 4.0, 1000.0)], [Candidate("other", 1.5, 1000.0)]


@pytest.fixture
def taught(decider: Decider) -> Decider:
    """One that knows that a score of 4 is right, and one of 1.5 in three cases of four, and has seen both come."""
    for number in range(300):
        decider.learn(_label(4.0, is_correct=True, cluster=f"c{number}"))
        decider.learn(_label(1.5, is_correct=number % 4 > 0, cluster=f"d{number}"))
    for number in range(600):
        decider.decide(_DOUBTFUL if number % 3 == 0 else _GOOD, max_error_rate=0.05, prompt_key=b"%d" % number)
    return decider


def test_what_may_go_wrong_is_spent_on_the_requests_with_the_least_risk(taught: Decider) -> None:
    """Not on whoever comes first: else doubtful hits would use up what good ones need."""
    good, doubtful = [
        [taught.decide(candidates, max_error_rate=0.05).propensity for _ in range(60)]
        for candidates in (_GOOD, _DOUBTFUL)
    ]
    assert 1.0 not in good
    assert set(doubtful) == {1.0}


def test_a_prompt_that_comes_again_is_looked_at_before_it_weighs_too_much(taught: Decider) -> None:
    """Were its answer wrong, it would be wrong each time; new prompts of the same risk go on being served."""
    again = [taught.decide(_GOOD, max_error_rate=0.05, prompt_key=b"again").propensity for _ in range(150)]
    new = [taught.decide(_GOOD, max_error_rate=0.05, prompt_key=b"new %d" % number).propensity for number in range(50)]
    assert 1.0 in again
    assert 1.0 not in new


def test_answers_that_changed_do_not_take_the_trust_from_new_ones(decider: Decider) -> None:
    """Failures of old answers tell of the time that has passed, not of the verifier."""
    for number in range(400):
        decider.learn(Label(f"c{number % 100}", 4.0, is_correct=True, propensity=1.0, time_s=1000.0 + number))
    for number in range(30):
        is_correct = number % 3 > 0
        decider.learn(Label(f"c{number}", 4.0, is_correct=is_correct, propensity=1.0, time_s=2000.0 + number))
    old, new = Candidate("c90", 4.0, 1000.0), Candidate("n", 4.0, 2030.0)
    chances = [decider.assess([each], max_error_rate=0.05).probability for each in (old, new)]
    assert chances[0] < 0.85
    assert chances[1] > 0.9
