"""What is right when, and in which words."""

import random

from penstock.bench.cache.answers import Answers, Truth, changed, draw_changing, reworded

BY_CLASS = {"a": "It costs 5 euros. You can pay by card.", "b": "No."}


def test_answers_of_the_drawn_classes_change_midway() -> None:
    """From then on the old one is wrong."""
    answers = Answers(BY_CLASS, changing=["a"], change_at=10, is_reworded=False, seed=0)
    assert (answers.truth("a", 9), answers.truth("a", 10), answers.truth("b", 10)) == (
        Truth("a", 0),
        Truth("a", 1),
        Truth("b", 0),
    )
    assert answers.tell("a", 9) == BY_CLASS["a"]
    assert answers.tell("a", 10) == "It costs 6 euros. You can pay by card."
    assert answers.tell("b", 10) == "No."


def test_changed_answer_says_something_else() -> None:
    """Also where there is no number to change."""
    assert changed("Line 9 until 21:59.") == "Line 10 until 22:60."
    assert changed("By card.") == "This is no longer so. By card was the rule before it was changed."


def test_share_of_classes_that_changes_is_kept() -> None:
    """The same seed draws the same."""
    names = [str(number) for number in range(50)]
    assert len(set(draw_changing(names, 0.3, 7))) == 15
    assert draw_changing(names, 0.3, 7) == draw_changing(names[::-1], 0.3, 7)
    assert draw_changing(names, 0.3, 7) != draw_changing(names, 0.3, 8)


def test_reworded_answers_differ_and_keep_their_facts() -> None:
    """An exact comparison shall not be enough, and no number may get lost."""
    answers = Answers(BY_CLASS, changing=[], change_at=0, is_reworded=True, seed=3)
    told = [answers.tell("a", index) for index in range(100)]
    assert told == [answers.tell("a", index) for index in range(100)]
    assert len(set(told)) > 20
    assert all("5 euros" in each and "card" in each for each in told)
    assert any(each.startswith("- ") for each in told)
    assert reworded("No.", random.Random(1)).count("No.") == 1
