"""Relations, facts and the templates that ask for them: the vocabulary of the corpus generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

NOUN_ASKERS = (
    "what is {}?", "what's {}?", "what is {} again?", "what is {} called?", "tell me {}.", "name {}.",
    "give me {}.", "i want to know {}.", "i would like to know {}.", "do you know {}?", "can you tell me {}?",
    "could you tell me {}?", "could you tell me what {} is?", "{}?", "{}", "{} is what?", "{} is", "i need {}.",
    "i am looking for {}.", "let me know {}.", "remind me of {}.", "i forgot {}.", "and {}?", "what about {}?",
    "what would be {}?", "say {}.", "can you name {}?", "i wonder what {} is.", "any idea what {} is?",
    "{}, what is it?", "what might {} be?", "would you tell me {}?", "please find {}.", "show me {}.",
    "i was asked for {}.", "do you remember {}?", "help me with {}.", "what do you think is {}?", "{} =",
    "i don't know {}.", "we need {} now.", "will you give me {}?", "please write down {}.", "what was {}?",
    "may i ask for {}?", "you surely know {}.", "have you got {}?", "are you able to name {}?",
)  # fmt: skip
"""Questions around a noun phrase such as "the capital of {country}"."""

CLAUSE_ASKERS = (
    "{}?", "do you know {}?", "can you tell me {}?", "could you tell me {}?", "i wonder {}.", "tell me {}.",
    "i want to know {}.", "i would like to know {}.", "any idea {}?", "please say {}.", "and {}?", "so {}?",
    "let me know {}.", "i forgot {}.", "i am not sure {}.", "remind me {}.", "would you know {}?", "guess {}.",
    "my question is {}.", "are you able to say {}?", "who knows {}?", "i need to find out {}.", "explain {}.",
    "we were asked {}.", "have you any idea {}?",
)  # fmt: skip
"""Questions around an indirect clause such as "which city is the capital of {country}"."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know: the surface forms that may fill each slot of a template, and the answer."""

    slots: Mapping[str, Sequence[str]]
    answer: str
    is_held_out: bool = False
    """True for operands that training never sees."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Facts of one kind with every way to ask for them.

    `groups` holds templates by kind (whole sentences, noun phrases x askers, clauses x askers);
    a kind is drawn first, so that the few hand-made sentences are not drowned by the products.
    """

    name: str
    weight: float
    facts: tuple[Fact, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def domain(self) -> str:
        """The part of the name before the dot, "capitals" of "capitals.of"."""
        return self.name.partition(".")[0]


def relation(  # noqa: PLR0917 - a table of relations reads best without keywords
    name: str,
    weight: float,
    facts: Sequence[Fact],
    sentences: Sequence[str] = (),
    nouns: Sequence[str] = (),
    clauses: Sequence[str] = (),
) -> Relation:
    """Build a relation; noun phrases and clauses are multiplied with every asker."""
    products = (
        tuple(sentences),
        tuple(asker.replace("{}", noun) for noun in nouns for asker in NOUN_ASKERS),
        tuple(asker.replace("{}", clause) for clause in clauses for asker in CLAUSE_ASKERS),
    )
    return Relation(name, weight, tuple(facts), tuple(group for group in products if group))


def fill(template: str, fact: Fact, rng: Random) -> str:
    """Put a randomly chosen surface form of the fact into every slot of the template."""
    return template.format_map({slot: rng.choice(forms) for slot, forms in fact.slots.items()})


def lines(block: str) -> tuple[str, ...]:
    """The non-empty lines of a triple-quoted table, stripped."""
    return tuple(line.strip() for line in block.strip().splitlines() if line.strip())


def phrases(block: str) -> tuple[str, ...]:
    """The phrases of a triple-quoted block, separated by slashes between blanks and by line ends."""
    return tuple(phrase for line in lines(block) for phrase in line.split(" / "))
