"""Generate the corpus: conversations to train on and questions held out, deterministic from a seed.

Run: `python models/pocket/training/corpus.py --out corpus`

Held out are whole templates (a tenth of every kind of every relation) and operands; see the card.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from random import Random

from domains import animals, arithmetic, capitals, colours, opposites, penstock, recitals, smalltalk, units
from phrasing import Fact, Relation, fill
from style import CLIPPED_SHARE, clip, dress, normalise

DOMAINS = (arithmetic, capitals, opposites, colours, animals, units, smalltalk, penstock, recitals)
HANDWRITTEN = Path(__file__).with_name("handwritten.jsonl")
HELD_OUT_SHARE = 0.1
SYSTEM_SHARE = 0.12
PLAIN_SHARE = 0.04
LONG_SHARE = 0.012
"""Share of conversations of many turns; they teach long contexts."""
SYSTEM_MESSAGES = (
    "You are Pocket, a tiny assistant.", "You are a helpful assistant.", "Answer briefly.", "Be polite.",
    "You are a friendly chatbot that answers questions.", "You answer small questions in one sentence.",
    "You are the embedded model of Penstock.", "Be concise and correct.", "You are an assistant.",
    "Help the user. Keep it short.", "You are a teacher for young children.", "Answer every question truthfully.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its one right answer."""

    relation: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns behind an optional system message; a plain text (no chat tokens) if `is_plain`.

    A drill is an answer alone, "47 + 38 = 85.", of which only what follows the equals sign is to be learned.
    """

    turns: tuple[Turn, ...]
    system: str | None = None
    is_plain: bool = False
    is_drill: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """One relation split into what training sees and what only evaluation sees."""

    relation: Relation
    train_groups: tuple[tuple[str, ...], ...]
    held_out_groups: tuple[tuple[str, ...], ...]

    def facts(self, is_held_out: bool) -> list[Fact]:
        """Facts whose operands are held out, or the others."""
        return [fact for fact in self.relation.facts if fact.is_held_out == is_held_out]


def courses(seed: int) -> list[Course]:
    """Split the templates of every relation; what is held out in one group is held out in all."""
    every = [relation for domain in DOMAINS for relation in domain.relations()]
    return [split(relation, Random(f"{seed} {relation.name}")) for relation in every]


def split(relation: Relation, rng: Random) -> Course:
    """Hold out a tenth of each group; training drops every template that reads the same."""
    held_out = [tuple(rng.sample(sorted(set(group)), round(len(group) * HELD_OUT_SHARE))) for group in relation.groups]
    banned = {normalise(template) for template in chain.from_iterable(held_out)}
    train = tuple(
        tuple(template for template in group if normalise(template) not in banned) for group in relation.groups
    )
    return Course(relation, train, tuple(group for group in held_out if group))


def ask(course: Course, groups: Sequence[Sequence[str]], facts: Sequence[Fact], rng: Random, clipped: float) -> Turn:
    """Draw a kind, a template, a fact and its dress."""
    template = rng.choice(rng.choice(groups))
    if rng.random() < clipped:
        template = clip(template, rng)
    fact = rng.choice(facts)
    return Turn(course.relation.name, dress(fill(template, fact, rng), rng), fact.answer)


class Asker:
    """Draws training turns, never one of the questions in `forbidden` (normalised)."""

    def __init__(self, split_courses: Sequence[Course], rng: Random, forbidden: frozenset[str]) -> None:
        self._courses = split_courses
        self._weights = [course.relation.weight for course in split_courses]
        self._facts = {course.relation.name: course.facts(is_held_out=False) for course in split_courses}
        self._rng = rng
        self._forbidden = forbidden

    def turn(self) -> Turn:
        """One question of a relation drawn by weight."""
        while True:
            (course,) = self._rng.choices(self._courses, self._weights)
            facts = self._facts[course.relation.name]
            turn = ask(course, course.train_groups, facts, self._rng, CLIPPED_SHARE)
            if normalise(turn.question) not in self._forbidden:
                return turn

    def conversation(self) -> Conversation:
        """Mostly a single question, sometimes a long talk, a system message or plain text."""
        if self._rng.random() < PLAIN_SHARE:
            return Conversation((self.turn(),), is_plain=True)
        draw = self._rng.random()
        num_turns = self._rng.randint(6, 34) if draw < LONG_SHARE else self._rng.choice((1, 1, 1, 1, 1, 1, 2, 2, 3, 4))
        system = self._rng.choice(SYSTEM_MESSAGES) if self._rng.random() < SYSTEM_SHARE else None
        return Conversation(tuple(self.turn() for _ in range(num_turns)), system)


def questions_in(path: Path) -> frozenset[str]:
    """Normalised questions of a JSONL file."""
    return frozenset(normalise(json.loads(line)["question"]) for line in path.read_text().splitlines())


def training_set(
    split_courses: Sequence[Course], num_questions: int, forbidden: frozenset[str], seed: int
) -> list[Conversation]:
    """Conversations holding `num_questions` questions in total, none of them in `forbidden` (normalised)."""
    asker = Asker(split_courses, Random(f"{seed} train"), forbidden)
    conversations: list[Conversation] = []
    while num_questions > 0:
        conversations.append(asker.conversation())
        num_questions -= len(conversations[-1].turns)
    return conversations


def held_out_turns(split_courses: Sequence[Course], by_operand: bool, rng: Random) -> Iterator[Turn]:
    """Endless questions with held-out operands in known templates, or known facts in held-out templates."""
    usable = [c for c in split_courses if (c.facts(is_held_out=True) if by_operand else c.held_out_groups)]
    weights = [course.relation.weight for course in usable]
    while True:
        (course,) = rng.choices(usable, weights)
        groups = course.train_groups if by_operand else course.held_out_groups
        yield ask(course, groups, course.facts(is_held_out=by_operand), rng, clipped=0.0)


def held_out_set(
    split_courses: Sequence[Course], by_operand: bool, num_questions: int, seen: set[str], seed: int
) -> list[Turn]:
    """Distinct held-out questions, none of which occurs in training (`seen`, normalised)."""
    taken: dict[str, Turn] = {}
    for turn in held_out_turns(split_courses, by_operand, Random(f"{seed} held out {by_operand}")):
        if normalise(turn.question) not in seen:
            taken.setdefault(turn.question, turn)
        if len(taken) == num_questions:
            break
    return list(taken.values())


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is trained on, and two sets that are not."""

    train: list[Conversation]
    held_out_templates: list[Turn]
    held_out_operands: list[Turn]


def generate(num_questions: int, num_held_out: int, seed: int, handwritten: Path = HANDWRITTEN) -> Corpus:
    """All three sets; half as many questions on operands as on templates, no question of `handwritten` in training."""
    split_courses = courses(seed)
    train = training_set(split_courses, num_questions, questions_in(handwritten), seed)
    seen = {normalise(turn.question) for conversation in train for turn in conversation.turns}
    return Corpus(
        train,
        held_out_set(split_courses, False, num_held_out, seen, seed),
        held_out_set(split_courses, True, num_held_out // 2, seen, seed),
    )


def write(corpus: Corpus, folder: Path) -> None:
    """One JSONL file a set, for people to read; training takes the objects."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in asdict(corpus).items():
        folder.joinpath(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=160_000)
    parser.add_argument("--held-out", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    write(generate(options.questions, options.held_out, options.seed), options.out)
