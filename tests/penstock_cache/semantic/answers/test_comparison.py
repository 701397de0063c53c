"""Whether two answers say the same."""

import asyncio

import numpy as np
import pytest
from fakes.word_encoder import WordEncoder

from penstock_cache.semantic.answers.comparison import AnswerComparison
from penstock_cache.semantic.encoder import EncoderError
from penstock_cache.semantic.prompts import EncodedPrompt


class CredulousEncoder(WordEncoder):
    """Finds all texts alike, so that only what is read in them can tell them apart."""

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """Always the same vector."""
        await super().encode(text)
        return EncodedPrompt(text, np.array([1, 0], np.float32), b"")


async def compared(one: str, other: str, encoder: WordEncoder | None = None, question: str = "") -> bool | None:
    """What the comparison of two answers comes to."""
    comparison = AnswerComparison(encoder or CredulousEncoder(), timeout_s=10)
    found = await comparison.are_equivalent([one], [other], question=question)
    assert await comparison.are_equivalent([other], [one], question=question) is found
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "**Paris**"),
        ("It  is\n42.", "it is 42"),
        ("It\u2019s 5\u20137", "it's 5-7"),
        ("```\nx = 1\n```", "```\nx = 1\n```"),
        ("```\nx = 1;\n```", "Sure! Here is the code:\n\n```c\nx = 1;\n```\nHope this helps!"),
        ("[1, 2]", "```json\n[1,\n 2]\n```"),
        ("Pay in advance. No refunds are made.", "Sure! No refunds are made. Pay in advance. I hope this helps."),
        ("Pay in advance. No refunds are made.", "- Pay in advance.\n- No refunds are made."),
        ("45 days", "Good question! 45 days Let me know if you have other questions."),
        ("No. It is not covered.", "In short: It is not covered. No."),
    ],
)
async def test_answers_that_differ_in_form_only_are_the_same_without_asking_the_encoder(one: str, other: str) -> None:
    """Case, typographic signs, courtesies, bullets and the order of sentences say nothing."""
    encoder = WordEncoder()
    assert await compared(one, other, encoder) is True
    assert encoder.batches == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 miles are 8.05 km.", "5 miles is 8.05 kilometers."),
        ("It costs \u20ac4.90 per day.", "Per day it costs 4.90 euros."),
        ("You may return it within fourteen days.", "You may return it within 14 days."),
        ("You may return it within two weeks.", "You may return it within 14 days."),
        ("The population is 1,250.", "The population is 1250.0."),
        ("The capital of France is Paris.", "Paris is the capital of France."),
        ("The museum is closed on Mondays.", "The museum is closed every Monday."),
        ("The shop opens at 3 p.m. on Fri.", "On Friday the shop opens at 15:00."),
        ("You need flour, eggs and milk for it.", "For it you need milk, flour and eggs."),
        ("You stay no longer than 90 days in Peru.", "You stay at most 90 days in Peru."),
    ],
)
async def test_answers_in_other_words_are_the_same(one: str, other: str) -> None:
    """What a model says twice it seldom says in the same words."""
    assert await compared(one, other) is True


async def test_what_the_question_says_need_not_be_said_in_both_answers() -> None:
    """One model answers in a phrase and the next in a sentence."""
    question = "How long is the Nile?"
    assert await compared("6,650 km", "The Nile is 6,650 km long.", question=question) is True
    assert await compared("6,650 km", "The Nile is 6,650 km long.") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It costs 5 euros.", "It costs 6 euros."),
        ("It costs 5 euros.", "It costs 5 dollars."),
        ("5 miles are 8 km.", "8 miles are 5 km."),
        (
            "An adult ticket costs 12 euros and a child ticket 6.",
            "An adult ticket costs 6 euros and a child ticket 12.",
        ),
        ("It is -5 degrees.", "It is 5 degrees."),
        ("There are 1,250 of them.", "There are 1.250 of them."),
        ("Good question! 45 days", "Good question! 46 days"),
        ("You can cancel within 14 days.", "You cannot cancel within 14 days."),
        ("It isn't covered.", "It is covered."),
        ("Yes, that is so.", "No, that is so."),
        ("Eat before running.", "Eat after running."),
        ("Lists are mutable and tuples are immutable.", "Lists are immutable and tuples are mutable."),
        ("Store it warm, not in the fridge.", "Store it in the fridge, not warm."),
        ("Alice beat Bob.", "Bob beat Alice."),
        ("The capital is Paris.", "The capital is Lyon."),
        ("Send GET /v2/orders first.", "Send GET /v2/items first."),
        ("Use sort=-created_at for it.", "Use sort=created_at for it."),
        ("```\nx = 1\n```", "```\nX = 1\n```"),
        ('{"city": "Oslo"}', "The city is Oslo."),
        ("The train is late and the bus is not.", "El tren y el bus no llegan a la hora."),
    ],
)
async def test_answers_that_state_other_things_are_told_apart_however_near_their_vectors(one: str, other: str) -> None:
    """A wrong label would have wrong answers served."""
    assert await compared(one, other) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It costs 5 euros.", "It costs 5 euros plus 2 for delivery."),  # a detail, or a condition?
        ("Canberra is the capital.", "Canberra, not Sydney, is the capital."),
        ("Add the sugar and stir well.", "Add the salt and stir well."),  # a synonym, or another thing?
        ("She liked green apples.", "They like green apples."),
        ("Does she like apples?", "She likes apples."),
        ("It strengthens the heart and lifts the mood.", "- Strengthens the heart\n- Lifts the mood"),
        ("x = f(a);", "x = f( a );"),
        ("The library is not open today.", "The library is closed today."),
        ("Sure!", "Of course!"),
    ],
)
async def test_what_its_words_cannot_tell_is_not_guessed_however_near_their_vectors(one: str, other: str) -> None:
    """No label is better than a wrong one."""
    assert await compared(one, other) is None


async def test_the_encoder_decides_where_nothing_is_stated_otherwise() -> None:
    """Few words in common and no near meaning: another answer. Most in common and near: the same. Else it is open."""
    same = "it is a fruit that grows on trees in warm lands and is eaten fresh"
    assert await compared(same, f"{same} often", WordEncoder()) is True
    assert await compared(same, "some animal living deep under water", WordEncoder()) is False
    assert (
        await compared(
            same, "it is a fruit that grows on big bushes in cold lands and is eaten with sugar", WordEncoder()
        )
        is None
    )


async def test_choices_are_compared_one_by_one() -> None:
    """An answer of several choices serves only as a whole."""
    comparison = AnswerComparison(CredulousEncoder(), timeout_s=10)
    assert await comparison.are_equivalent(["a", "b"], ["A", "B"], question="") is True
    assert await comparison.are_equivalent(["a", "5"], ["a", "6"], question="") is False
    assert await comparison.are_equivalent(["Sure!", "5"], ["Of course!", "6"], question="") is False
    assert await comparison.are_equivalent(["a"], ["a", "a"], question="") is False


async def test_what_cannot_be_compared_is_not_guessed() -> None:
    """No label is better than a wrong one."""

    class Broken(WordEncoder):
        async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
            raise EncoderError("too much to do")

    class Hanging(WordEncoder):
        async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
            await asyncio.Event().wait()
            raise AssertionError

    hanging = AnswerComparison(Hanging(), timeout_s=0.01)
    assert await compared("apples are fine", "pears are fine", Broken()) is None
    assert await hanging.are_equivalent(["apples are fine"], ["pears are fine"], question="") is None
    assert await compared("unreadable apples", "apples", WordEncoder()) is None
    assert await compared("very long " * 1000, "long " * 1000) is None


async def test_answers_of_more_numbers_than_can_be_compared_in_time_are_left_alone() -> None:
    """Each number is compared with each: thousands of them would take seconds from everybody's lookups."""
    one, other = (". ".join(f"There are {number}" for number in range(first, first + 150)) for first in (1, 1001))
    assert await compared(one, other) is None
