"""Whether two answers say the same."""

import asyncio

import numpy as np
import pytest
from fakes.word_encoder import WordEncoder

from penstock_cache.semantic.answer_comparison import AnswerComparison
from penstock_cache.semantic.encoder import EncoderError
from penstock_cache.semantic.prompts import EncodedPrompt


class CredulousEncoder(WordEncoder):
    """Finds all texts alike, so that only what is read in them can tell them apart."""

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """Always the same vector."""
        await super().encode(text)
        return EncodedPrompt(text, np.array([1, 0], np.float32), b"")


async def compared(one: str, other: str, encoder: WordEncoder | None = None) -> bool | None:
    """What the comparison of two answers comes to."""
    return await AnswerComparison(encoder or CredulousEncoder(), timeout_s=10).are_equivalent([one], [other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "**Paris**"),
        ("The answer  is\n42.", "the answer is 42"),
        ("It\u2019s 5\u20137", "it's 5-7"),
        ("```\nx = 1\n```", "```\nx = 1\n```"),
    ],
)
async def test_answers_that_differ_in_form_only_are_the_same_without_asking_the_encoder(one: str, other: str) -> None:
    """Case, spaces, typographic signs and emphasis say nothing."""
    encoder = WordEncoder()
    assert await compared(one, other, encoder) is True
    assert encoder.batches == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 miles are 8.05 km.", "5 miles is 8.05 kilometers."),
        ("It costs \u20ac4.90 per day.", "It costs 4.90 euros a day."),
        ("You may return it within fourteen days.", "You may return it within 14 days."),
        ("The population is 1,250.", "The population is 1250.0."),
        ("The capital of France is Paris.", "Paris is the capital of France."),
    ],
)
async def test_answers_in_other_words_are_the_same(one: str, other: str) -> None:
    """What a model says twice it seldom says in the same words."""
    assert await compared(one, other) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It costs 5 euros.", "It costs 6 euros."),
        ("It costs 5 euros.", "It costs 5 dollars."),
        ("5 miles are 8 km.", "8 miles are 5 km."),
        ("It is -5 degrees.", "It is 5 degrees."),
        ("There are 1,250 of them.", "There are 1.250 of them."),
        ("You can cancel within 14 days.", "You cannot cancel within 14 days."),
        ("It isn't covered.", "It is covered."),
        ("Yes, that is so.", "No, that is so."),
        ("Eat before running.", "Eat after running."),
        ("Alice beat Bob.", "Bob beat Alice."),
        ("The capital is Paris.", "The capital is Lyon."),
        ("Send GET /v2/orders first.", "Send GET /v2/items first."),
        ("Use sort=-created_at for it.", "Use sort=created_at for it."),
        ("```\nx = 1\n```", "```\nX = 1\n```"),
        ("[1, 2]", "[1,  2]"),
    ],
)
async def test_answers_that_state_other_things_are_told_apart_however_near_their_vectors(one: str, other: str) -> None:
    """A wrong label would have wrong answers served."""
    assert await compared(one, other) is False


async def test_the_encoder_tells_answers_apart_that_have_the_same_facts() -> None:
    """One unlike sentence is enough."""
    same = "it is a fruit that grows on trees in warm lands and is eaten fresh"
    assert await compared(same, f"{same} often", WordEncoder()) is True
    assert await compared(same, "an animal living under water", WordEncoder()) is False
    assert await compared(f"{same}. {same}.", f"{same}. some fish swim.", WordEncoder()) is False


async def test_choices_are_compared_one_by_one() -> None:
    """An answer of several choices serves only as a whole."""
    comparison = AnswerComparison(CredulousEncoder(), timeout_s=10)
    assert await comparison.are_equivalent(["a", "b"], ["A", "B"]) is True
    assert await comparison.are_equivalent(["a", "5"], ["a", "6"]) is False
    assert await comparison.are_equivalent(["a"], ["a", "a"]) is False


async def test_what_cannot_be_told_is_not_guessed() -> None:
    """No label is better than a wrong one."""

    class Broken(WordEncoder):
        async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
            raise EncoderError("too much to do")

    class Hanging(WordEncoder):
        async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
            await asyncio.Event().wait()
            raise AssertionError

    assert await compared("it is so", "it is thus", Broken()) is None
    assert await AnswerComparison(Hanging(), timeout_s=0.01).are_equivalent(["it is so"], ["it is thus"]) is None
    assert await compared("unreadable", "it is thus", WordEncoder()) is None
    assert await compared("very long " * 1000, "long " * 1000) is None
    assert await compared("so it is. " * 13, "so it is! " * 13) is None
