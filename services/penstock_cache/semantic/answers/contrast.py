"""What one answer states and another does not."""

from dataclasses import dataclass

from penstock_cache.semantic.answers.company import OPPOSITES, Changes, changes_of
from penstock_cache.semantic.answers.facts import AnswerFacts
from penstock_cache.semantic.answers.order import Order, order_of, replaced
from penstock_cache.semantic.answers.quantities import unmatched

# Of the words of an answer; with more of them unmatched it speaks of something else.
_FEW = 0.25
# Words of an answer that is a phrase; each of them decides.
_PHRASE_WORDS = 4
# A question is no answer, and a list may be what was asked for.
_ALWAYS_BEARING = frozenset({"?", "list"})


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two answers beside each other.

    Attributes:
        is_opposed: they state different things.
        is_doubtful: they may, for one states what the other leaves open, or puts words together otherwise.
        has_common: they share a number, a name or a literal, or one has no words but those of the other.
        left, right: words of content that only one has and the question has not.
    """

    is_opposed: bool
    is_doubtful: bool
    has_common: bool
    left: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two answers, and the question.

    Attributes:
        left, right: words that only one has, by their stems.
        exchanged: of these, what stands in the place of what.
        is_near: whether they are few.
        changes: of company.
        order: of words.
    """

    one: AnswerFacts
    other: AnswerFacts
    question: AnswerFacts
    left: dict[str, str]
    right: dict[str, str]
    exchanged: set[tuple[str, str]]
    is_near: bool
    changes: Changes
    order: Order


def contrast(one: AnswerFacts, other: AnswerFacts, question: AnswerFacts) -> Contrast:
    """How two answers differ. What the question says itself need not be said in both."""
    left = {stem: word for stem, word in one.words.items() if stem not in other.words}
    right = {stem: word for stem, word in other.words.items() if stem not in one.words}
    pair = _Pair(
        one=one,
        other=other,
        question=question,
        left=left,
        right=right,
        exchanged=replaced(one, other, left, right),
        is_near=max(len(left) / max(len(one.words), 1), len(right) / max(len(other.words), 1)) <= _FEW,
        changes=changes_of(one, other),
        order=order_of(one, other),
    )
    is_opposed = _state_others(pair) or _turn_round(pair)
    return Contrast(
        is_opposed=is_opposed,
        is_doubtful=is_opposed or _leave_open(pair) or _may_turn_round(pair) or _have_other_bearing(pair),
        has_common=_have_common(pair),
        left=tuple(word for stem, word in left.items() if stem not in question.words),
        right=tuple(word for stem, word in right.items() if stem not in question.words),
    )


def _state_others(pair: _Pair) -> bool:
    """Whether each has a verdict, number, literal, name or language that the other has not."""
    one, other = pair.one, pair.other
    return bool(
        {one.verdict, other.verdict} == {"yes", "no"}
        or (unmatched(one.quantities, other.quantities) and unmatched(other.quantities, one.quantities))
        or (one.language and other.language and one.language != other.language)
        or _type_others(one, other)
        or _name_others(pair)
    )


def _turn_round(pair: _Pair) -> bool:
    """Whether one says of the same things the opposite, or of each what the other says of another."""
    has_opposite = any(counterpart in OPPOSITES.get(word, ()) for word, counterpart in pair.exchanged)
    return bool(
        (has_opposite and pair.one.num_negations == pair.other.num_negations)
        or (pair.is_near and _denies(pair))
        or pair.changes.are_certain
        or pair.order is Order.SWAPPED
    )


def _leave_open(pair: _Pair) -> bool:
    """Whether one has numbers, names or literals that neither the other nor the question has."""
    return any(
        unmatched(unmatched(here.quantities, there.quantities), pair.question.quantities)
        or here.literals - there.literals - pair.question.literals
        or here.names.keys() - there.words.keys() - pair.question.words.keys()
        for here, there in ((pair.one, pair.other), (pair.other, pair.one))
    )


def _may_turn_round(pair: _Pair) -> bool:
    one, other = pair.one, pair.other
    surplus = (*pair.left, *pair.right)
    return bool(
        one.num_negations != other.num_negations
        or pair.changes
        or pair.exchanged
        or pair.order is Order.MIXED
        or (pair.is_near and any(word in OPPOSITES for word in surplus))
        or any(OPPOSITES.get(word, frozenset()) & other.words.keys() for word in pair.left)
        or any(OPPOSITES.get(word, frozenset()) & one.words.keys() for word in pair.right)
    )


def _have_other_bearing(pair: _Pair) -> bool:
    """Whether they differ in form; in person, tense or voice, where little else differs; in the forms of few words."""
    one, other = pair.one, pair.other
    bearing = one.bearing ^ other.bearing
    is_phrase = max(len(one.words), len(other.words)) <= _PHRASE_WORDS
    return bool(
        bearing & _ALWAYS_BEARING
        or ((pair.is_near or is_phrase) and bearing)
        or (is_phrase and any(other.words.get(stem, word) != word for stem, word in one.words.items()))
    )


def _have_common(pair: _Pair) -> bool:
    one, other = pair.one, pair.other
    has_number = len(unmatched(one.quantities, other.quantities)) < len(one.quantities)
    is_contained = not (pair.left and pair.right) and (has_number or bool(one.words.keys() & other.words.keys()))
    return bool(has_number or is_contained or one.literals & other.literals or one.names.keys() & other.names.keys())


def _name_others(pair: _Pair) -> bool:
    """Whether each names what the other does not, and not only as the question does or in other places."""
    one, other, asked = pair.one, pair.other, pair.question.words.keys()
    mine, others = one.names.keys() - other.words.keys(), other.names.keys() - one.words.keys()
    are_new = bool(mine - asked and others - asked)
    return are_new or bool({one.names[name] for name in mine} & {other.names[name] for name in others})


def _denies(pair: _Pair) -> bool:
    """Whether one says no to the very words of the other; a "not" with words of its own may be a mere addition."""
    surplus = pair.one.num_negations - pair.other.num_negations
    return surplus % 2 == 1 and not (pair.left if surplus > 0 else pair.right)


def _type_others(one: AnswerFacts, other: AnswerFacts) -> bool:
    """Whether each has literals that the other has not; calls of one function with other arguments may be examples."""
    mine, others = one.literals - other.literals, other.literals - one.literals
    names, other_names = ({each.partition("(")[0] for each in found} for found in (mine, others))
    return bool(names - other_names and other_names - names)
