"""Practice beside the corpus: what is computed, counted and shouted, without a new way to ask for it.

A drill shows the model the part of an answer that it must compute, many times and cheaply. Drills hold no phrasing
that the corpus does not hold, and no held-out operand, so that the held-out figures mean what they meant without them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from corpus import Conversation, Course, Turn
from domains.recitals import count_fact, counts
from phrasing import Fact, fill
from style import dress, normalise

SUMS = "arithmetic."
COUNT = "recitals.count"
LARGEST_NUMBER = 100
LONGEST_COUNT = 20
DOWNWARDS_SHARE = 0.25


def sums(split_courses: Sequence[Course], num_drills: int, rng: Random) -> Iterator[Conversation]:
    """Bare answers such as "47 + 38 = 85.", in the proportions in which the corpus asks for them."""
    usable = [course for course in split_courses if course.relation.name.startswith(SUMS)]
    facts = {course.relation.name: course.facts(is_held_out=False) for course in usable}
    for course in rng.choices(usable, [course.relation.weight for course in usable], k=num_drills):
        name = course.relation.name
        yield Conversation((Turn(name, "", rng.choice(facts[name]).answer),), is_drill=True)


def counting(
    split_courses: Sequence[Course], num_drills: int, forbidden: frozenset[str], rng: Random
) -> Iterator[Conversation]:
    """Short counts between any two numbers: where to stop must be read from the question, not known by heart."""
    (course,) = (course for course in split_courses if course.relation.name == COUNT)
    known = {fact.answer for fact in counts()}
    while num_drills > 0:
        fact = any_count(rng)
        question = dress(fill(rng.choice(rng.choice(course.train_groups)), fact, rng), rng)
        if fact.answer not in known and normalise(question) not in forbidden:
            yield Conversation((Turn(COUNT, question, fact.answer),))
            num_drills -= 1


def any_count(rng: Random) -> Fact:
    """Up to twenty-one numbers in a row, a quarter of the time downwards."""
    low = rng.randint(0, LARGEST_NUMBER - 1)
    high = rng.randint(low + 1, min(LARGEST_NUMBER, low + LONGEST_COUNT))
    return count_fact(high, low) if rng.random() < DOWNWARDS_SHARE else count_fact(low, high)


def shouted(train: Sequence[Conversation], num_drills: int, rng: Random) -> Iterator[Conversation]:
    """Conversations of the corpus once more, asked in capitals, which it does in one question of a hundred."""
    for conversation in rng.sample(train, num_drills):
        turns = (replace(turn, question=turn.question.upper()) for turn in conversation.turns)
        yield replace(conversation, turns=tuple(turns))
