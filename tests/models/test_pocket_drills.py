"""The drills of the pocket model: practice that must not let anything held out into training."""

from random import Random

import pytest
from corpus import Conversation, Course, Turn, courses, training_set
from domains.recitals import counts
from drills import counting, shouted, sums
from evaluate import CHECKPOINT
from packing import Encoder
from style import normalise
from transformers import AutoTokenizer

SEED = 7
DRILL = Conversation((Turn("arithmetic.add", "", "47 + 38 = 85."),), is_drill=True)


@pytest.fixture(scope="module")
def split() -> list[Course]:
    """The relations, split as training splits them."""
    return courses(SEED)


def test_sums_leave_held_out_operands_alone_and_hold_every_operation(split: list[Course]) -> None:
    """The figure on held-out operands speaks of pairs that no drill has shown either."""
    held_out = {fact.answer for course in split for fact in course.relation.facts if fact.is_held_out}
    drawn = [conversation.turns[0] for conversation in sums(split, 5_000, Random(SEED))]
    assert {turn.answer for turn in drawn} & held_out == set()
    assert {turn.relation.partition(".")[2] for turn in drawn} == {"add", "subtract", "multiply", "divide"}


def test_counting_asks_for_no_span_and_no_question_that_is_evaluated(split: list[Course]) -> None:
    """A span of the corpus is asked for in held-out templates, so drills count between other numbers."""
    known = {fact.answer for fact in counts()}
    drawn = [conversation.turns[0] for conversation in counting(split, 200, frozenset(), Random(SEED))]
    assert {turn.answer for turn in drawn} & known == set()
    forbidden = frozenset(normalise(turn.question) for turn in drawn[:50])
    again = [conversation.turns[0] for conversation in counting(split, 200, forbidden, Random(SEED))]
    assert {normalise(turn.question) for turn in again} & forbidden == set()


def test_counting_answers_what_it_asks(split: list[Course]) -> None:
    """A count that does not end at the number asked for would teach exactly the fault it is to cure."""
    for conversation in counting(split, 200, frozenset(), Random(SEED)):
        (turn,) = conversation.turns
        numbers = [int(number) for number in turn.answer.rstrip(".").split(", ")]
        step = 1 if numbers[-1] > numbers[0] else -1
        assert numbers == list(range(numbers[0], numbers[-1] + step, step))
        assert {str(numbers[0]), str(numbers[-1])} <= set(normalise(turn.question).split())


def test_shouted_questions_are_questions_of_the_corpus(split: list[Course]) -> None:
    """Only the case is new: what is excluded from the corpus stays excluded."""
    train = training_set(split, 500, frozenset(), SEED)
    drawn = list(shouted(train, 100, Random(SEED)))
    known = {normalise(turn.question) for conversation in train for turn in conversation.turns}
    questions = [turn.question for conversation in drawn for turn in conversation.turns]
    assert all(question.upper() == question for question in questions)
    assert {normalise(question) for question in questions} <= known


def test_a_drill_is_learned_from_the_equals_sign_on() -> None:
    """The operands of a drill are chance; learning to predict them would only add noise."""
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT, local_files_only=True)
    example = Encoder(tokenizer).encode(DRILL)
    sought = [token for token, is_target in zip(example.ids, example.is_target, strict=True) if is_target]
    assert tokenizer.decode(example.ids) == "<|assistant|>47 + 38 = 85.<|end|>"
    assert tokenizer.decode(sought) == " 85.<|end|>"
