"""The corpus of the pocket model: what is held out stays out, or its figures would be flattery."""

import json
from itertools import chain
from pathlib import Path

import pytest
from corpus import courses, generate, held_out_set
from packing import IGNORED, Example, collate
from style import normalise

NUM_QUESTIONS = 4_000
NUM_HELD_OUT = 400
SEED = 7


@pytest.fixture(scope="module")
def drawn() -> tuple[list, list, list]:
    """Training turns, and held-out turns by template and by operand."""
    corpus = generate(NUM_QUESTIONS, NUM_HELD_OUT, SEED)
    turns = list(chain.from_iterable(conversation.turns for conversation in corpus.train))
    return turns, corpus.held_out_templates, corpus.held_out_operands


def test_corpus_repeats_from_its_seed(drawn: tuple[list, list, list]) -> None:
    """Evaluation regenerates the held-out questions, so the same seed must draw the same ones."""
    again = generate(NUM_QUESTIONS, NUM_HELD_OUT, SEED)
    assert (again.held_out_templates, again.held_out_operands) == drawn[1:]


def test_training_leaves_out_what_the_handwritten_file_asks(drawn: tuple[list, list, list], tmp_path: Path) -> None:
    """The hand-written figure speaks of unseen questions only."""
    handwritten = tmp_path / "handwritten.jsonl"
    handwritten.write_text("".join(json.dumps({"question": turn.question}) + "\n" for turn in drawn[0][:100]))
    excluded = {normalise(turn.question) for turn in drawn[0][:100]}
    corpus = generate(NUM_QUESTIONS, NUM_HELD_OUT, SEED, handwritten)
    turns = chain.from_iterable(conversation.turns for conversation in corpus.train)
    assert {normalise(turn.question) for turn in turns} & excluded == set()


def test_held_out_questions_leave_out_what_training_holds(drawn: tuple[list, list, list]) -> None:
    """The held-out figures speak of unseen questions only, and of as many as were asked for."""
    seen = {normalise(turn.question) for turn in drawn[1]}
    again = held_out_set(courses(SEED), by_operand=False, num_questions=NUM_HELD_OUT, seen=seen, seed=SEED)
    assert {normalise(turn.question) for turn in again} & seen == set()
    assert [len(turns) for turns in (again, *drawn[1:])] == [NUM_HELD_OUT, NUM_HELD_OUT, NUM_HELD_OUT // 2]


def test_training_never_answers_a_held_out_operand(drawn: tuple[list, list, list]) -> None:
    """An operand pair is held out in every wording: its answer must not occur at all."""
    seen = {turn.answer for turn in drawn[0]}
    assert {turn.answer for turn in drawn[2]} & seen == set()


def test_no_training_template_reads_like_a_held_out_one() -> None:
    """A held-out template that returns with another comma or capital would be seen after all."""
    for course in courses(SEED):
        held_out = {normalise(template) for template in chain.from_iterable(course.held_out_groups)}
        assert held_out & {normalise(template) for template in chain.from_iterable(course.train_groups)} == set()


def test_every_generated_sum_is_right(drawn: tuple[list, list, list]) -> None:
    """A wrong answer in the corpus would be learned like a right one."""
    claims = [turn.answer.rstrip(".") for turn in drawn[0] if turn.relation.startswith("arithmetic")]
    operations = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__truediv__}
    for first, sign, second, _, result in (claim.split(" ") for claim in claims):
        assert operations[sign](int(first), int(second)) == int(result)
    assert len(claims) > NUM_QUESTIONS // 5


def test_conversations_sharing_a_row_do_not_see_each_other() -> None:
    """Packing must not let one conversation attend to another, nor predict across their border."""
    batch = collate([[Example([5, 6, 7], [False, True, True]), Example([8, 9], [False, True])]], pad_id=0)
    assert batch.targets[0, :5].tolist() == [6, 7, IGNORED, 9, IGNORED]
    assert batch.positions[0, :5].tolist() == [0, 1, 2, 0, 1]
    assert batch.mask[0, 0, :5, :5].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]
