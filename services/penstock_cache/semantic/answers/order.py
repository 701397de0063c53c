"""The order of words: what was swapped, and what stands in the place of another word."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from itertools import chain, pairwise

from penstock_cache.semantic.answers.facts import AnswerFacts

# Where a block of words moves to another place, three neighbourhoods change; where two words swap, four do.
_BLOCK_MOVE = 3
_PAIR = 2
# A clause of so few words is an item of a list; a sentence may have two and be no list.
_ITEM_WORDS = 2
_NUM_ITEMS = 3


class Order(Enum):
    """How the sentences of one answer order the words of the other's."""

    ALIKE = "alike"  # as there, or with a clause moved
    MIXED = "mixed"  # otherwise
    SWAPPED = "swapped"  # with two words changing places, as where roles change


def order_of(one: AnswerFacts, other: AnswerFacts) -> Order:
    """The worst of all sentences that have the very words of a sentence of the other answer."""
    mine, others = list(_orders(one)), list(_orders(other))
    simple = {clauses[0].words for facts in (one, other) for clauses in facts.clauses if len(clauses) == 1}
    by_words = defaultdict(list)
    for counterpart in others:
        if counterpart not in mine:
            by_words[tuple(sorted(counterpart))].append(counterpart)
    found = Order.ALIKE
    for order in mine:
        for counterpart in by_words[tuple(sorted(order))] if order not in others else ():
            num_moved = sum(word != there for word, there in zip(order, counterpart, strict=True))
            is_swap = num_moved == _PAIR < len(order)
            if is_swap and {order, counterpart} <= simple:
                return Order.SWAPPED
            if is_swap or _num_breaks(order, counterpart) > _BLOCK_MOVE:
                found = Order.MIXED
    return found


def replaced(
    one: AnswerFacts, other: AnswerFacts, left: Collection[str], right: Collection[str]
) -> set[tuple[str, str]]:
    """Words of `left` with those of `right` that stand between the same two words in the other answer."""
    by_place = defaultdict(list)
    for word, place in _places(other).items():
        if word in right:
            by_place[place].append(word)
    places = _places(one)
    return {(word, counterpart) for word in left for counterpart in by_place[places[word]]}


def _places(facts: AnswerFacts) -> dict[str, tuple[str, str]]:
    """The words before and behind each word, of content; empty at the ends of a sentence."""
    found: dict[str, tuple[str, str]] = {}
    for clauses in facts.clauses:
        order = ("", *chain.from_iterable(clause.words for clause in clauses), "")
        for before, word, behind in zip(order, order[1:], order[2:], strict=False):
            found.setdefault(word, (before, behind))
    return found


def _orders(facts: AnswerFacts) -> Iterator[tuple[str, ...]]:
    """The words of each sentence that is no list, whose items may come in any order."""
    for clauses in facts.clauses:
        if sum(len(clause.words) <= _ITEM_WORDS for clause in clauses) < _NUM_ITEMS:
            yield tuple(chain.from_iterable(clause.words for clause in clauses))


def _num_breaks(one: Iterable[str], other: Iterable[str]) -> int:
    """How many neighbourhoods of one order the other has not, its ends among them."""
    mine = Counter(pairwise(("", *one, "")))
    return sum((mine - Counter(pairwise(("", *other, "")))).values())
