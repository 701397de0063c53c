"""What stands together in a clause: words with their number, with a negation, with one of two opposites."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain

from penstock_cache.semantic.answers.facts import AnswerFacts, Clause, key
from penstock_cache.semantic.answers.quantities import Quantity, unmatched
from penstock_cache.semantic.answers.words import OPPOSITE_WORDS

OPPOSITES = {key(word): frozenset(map(key, others)) for word, others in OPPOSITE_WORDS.items()}


@dataclass(frozen=True, slots=True)
class Changes:
    """How many words keep other company in the other answer.

    Attributes:
        num_numbers: stand with another number.
        num_opposites: stand with the opposite.
        num_denied_here, num_denied_there: are denied in one answer and stated in the other.
    """

    num_numbers: int
    num_opposites: int
    num_denied_here: int
    num_denied_there: int

    @property
    def are_certain(self) -> bool:
        """Whether two words changed places; one alone may be a matter of wording."""
        is_turned = self.num_denied_here > 0 and self.num_denied_there > 0
        return self.num_numbers > 1 or self.num_opposites > 1 or is_turned

    def __bool__(self) -> bool:
        return any((self.num_numbers, self.num_opposites, self.num_denied_here, self.num_denied_there))


def changes_of(one: AnswerFacts, other: AnswerFacts) -> Changes:
    """What keeps other company. Only what both answers have can."""
    mine, others = _company(one), _company(other)
    pairs = [(mine[word], others[word]) for word in mine.keys() & others.keys()]
    can_be_denied = bool(one.num_negations and other.num_negations)
    denials = Counter(here.is_denied for here, there in pairs if can_be_denied and here.is_denied != there.is_denied)
    return Changes(_num_other_numbers(one, other, pairs), _num_turned(one, other), denials[True], denials[False])


def _num_other_numbers(one: AnswerFacts, other: AnswerFacts, pairs: list[tuple[Clause, Clause]]) -> int:
    def shared(clause: Clause) -> list[Quantity]:
        return [
            each
            for each in clause.quantities
            if not (unmatched([each], one.quantities) or unmatched([each], other.quantities))
        ]

    numbers = [(shared(here), shared(there)) for here, there in pairs]
    return sum(len(here) == len(there) == 1 and bool(unmatched(here, there)) for here, there in numbers)


def _num_turned(one: AnswerFacts, other: AnswerFacts) -> int:
    """Where two opposites are in both answers and not parted in the same way, there is one at least."""
    num = 0
    common = one.words.keys() & other.words.keys() & OPPOSITES.keys()
    for word in common:
        for opposite in OPPOSITES[word] & common:
            mine, others = (_beside(facts, word, opposite) for facts in (one, other))
            turned, others_turned = (_beside(facts, opposite, word) for facts in (one, other))
            num += len((mine & others_turned) - others - turned)
            num += _are_parted(one, word, opposite) != _are_parted(other, word, opposite)
    return num


def _beside(facts: AnswerFacts, word: str, opposite: str) -> set[str]:
    """What stands with a word and not with its opposite."""
    clauses = [clause.words for clause in chain.from_iterable(facts.clauses)]
    return {each for words in clauses if word in words and opposite not in words for each in words if each != word}


def _are_parted(facts: AnswerFacts, word: str, opposite: str) -> bool:
    return not any({word, opposite} <= set(clause.words) for clause in chain.from_iterable(facts.clauses))


def _company(facts: AnswerFacts) -> dict[str, Clause]:
    """The clause of each word that stands in one only."""
    clauses = list(chain.from_iterable(facts.clauses))
    counts = Counter(chain.from_iterable(set(clause.words) for clause in clauses))
    return {word: clause for clause in clauses for word in clause.words if counts[word] == 1}
