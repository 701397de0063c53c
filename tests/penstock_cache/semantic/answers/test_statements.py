"""What an answer says, without the words around it."""

import pytest

from penstock_cache.semantic.answers.statements import statements_of


@pytest.mark.parametrize(
    "answer",
    [
        "Sure! The fee is 5 euros. I hope this helps!",
        "Great question! The fee is 5 euros. Would you like to know more?",
        "In short: The fee is 5 euros. Let me know if you have other questions.",
        "Here is the answer: The fee is 5 euros. Have a nice day!",
        "I'm sorry to hear that! The fee is 5 euros. Feel free to ask again",
        "## The fee is **5 euros**.",
        "1. The fee is 5 euros.",
    ],
)
def test_courtesies_and_layout_are_no_part_of_what_is_said(answer: str) -> None:
    """A model puts other ones around the same answer each time."""
    assert statements_of(answer).sentences == ("The fee is 5 euros.",)


@pytest.mark.parametrize(
    "answer",
    [
        "Never open it!",
        "Have a doctor look at it.",
        "Happy customers need no contract.",
        "Try the other door first.",
        "Of course it may break.",
    ],
)
def test_what_only_begins_like_a_courtesy_is_kept(answer: str) -> None:
    """Otherwise two instructions would look the same."""
    assert statements_of(answer).sentences == (answer,)


def test_a_verdict_is_told_from_the_statement_behind_it() -> None:
    """What is often left out, and never the opposite of what is said."""
    assert statements_of("Yes, it is free.").verdict == "yes"
    assert statements_of("No. It costs 5 euros.").verdict == "no"
    assert statements_of("No visa is needed.").verdict == ""


def test_code_is_kept_as_it_stands() -> None:
    """Case and spaces of code are content."""
    assert statements_of("Run this:\n\n```sh\nls  -A\n```\n").code == ("ls  -A",)
    assert statements_of('{\n  "a": 1\n}').code == ('{\n"a": 1\n}',)
    assert statements_of("```\nthe block has no end").code == ()


def test_a_refusal_is_no_courtesy() -> None:
    """What is refused must not look like what is left out."""
    assert statements_of("I'm sorry, but we are closed.").sentences == ("but we are closed.",)
