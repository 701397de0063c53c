"""What two prompts have in common and what only one has, in words and numbers, without vectors."""

from typing import TypeVar

from penstock_cache.semantic.verification.prompt_words import PromptWords
from penstock_cache.semantic.verification.word_groups import FUNCTION_WORDS, GROUP_COUNTS, GROUP_NAMES, counts_by_group

_Item = TypeVar("_Item")
_TINY = 1e-6
_CONTENT = 0.2
_NAMES = (
    "overlap", "contained_min", "contained_max", "unmatched_min", "unmatched_max", "heaviest_min", "heaviest_max",
    "trigrams", "length_min", "length_max", "same_beginning", "same_end", "numbers_equal", "numbers_apart",
    "numbers_shared", "numbers", "negations_apart", "negations", "opposites", "other_word_before", "bigrams",
)  # fmt: skip
NAMES = (*_NAMES, *(f"{group}_{part}" for group in GROUP_NAMES for part in ("apart_min", "apart_max", "shared")))


def lexical(query: PromptWords, candidate: PromptWords) -> list[float]:
    """One value for each of `NAMES`; the same whichever of the two is the query."""
    return [
        *_stems(query, candidate),
        *_shape(query, candidate),
        *_numbers(query, candidate),
        abs(query.num_negations - candidate.num_negations),
        query.num_negations + candidate.num_negations,
        _num_opposites(query, candidate) + _num_opposites(candidate, query),
        _num_other_words_before(query, candidate),
        _jaccard(query.bigrams, candidate.bigrams),
        *_groups(query, candidate),
    ]


def _stems(query: PromptWords, candidate: PromptWords) -> list[float]:
    one, other = query.weight_of_stem, candidate.weight_of_stem
    common = one.keys() & other.keys()
    shared = sum(max(one[each], other[each]) for each in common)
    own, others = sum(one.values()), sum(other.values())
    contained = shared / (own + _TINY), shared / (others + _TINY)
    left = [one[each] for each in one.keys() - common], [other[each] for each in other.keys() - common]
    unmatched = sum(left[0]), sum(left[1])
    heaviest = max(left[0], default=0.0), max(left[1], default=0.0)
    return [
        shared / (own + others - shared + _TINY),
        *(bound(pair) for pair in (contained, unmatched, heaviest) for bound in (min, max)),
    ]


def _shape(query: PromptWords, candidate: PromptWords) -> list[float]:
    one, other = query.words, candidate.words
    return [
        _jaccard(query.trigrams, candidate.trigrams),
        min(len(one), len(other)),
        max(len(one), len(other)),
        one[:1] == other[:1],
        one[-2:] == other[-2:],
    ]


def _numbers(query: PromptWords, candidate: PromptWords) -> list[float]:
    one, other = query.numbers, candidate.numbers
    return [one == other, len(one ^ other), len(one & other), len(one) + len(other)]


def _num_opposites(one: PromptWords, other: PromptWords) -> int:
    """Words of the other that exclude one of the one's, where the one does not say them too."""
    return len((one.opposites & other.own) - one.own)


def _num_other_words_before(one: PromptWords, other: PromptWords) -> int:
    """Shared words of weight before which another function word stands: to Rome, from Rome."""
    count = 0
    for each, weight in one.weight_of_stem.items():
        before, other_before = one.before_stem.get(each), other.before_stem.get(each)
        if weight > _CONTENT and before in FUNCTION_WORDS and other_before in FUNCTION_WORDS:
            count += before != other_before
    return count


def _groups(query: PromptWords, candidate: PromptWords) -> list[float]:
    both = sum(GROUP_COUNTS.get(word, 0) for word in query.own & candidate.own)
    sums = query.group_counts - both, candidate.group_counts - both, both
    values: list[float] = []
    for one, other, shared in zip(*map(counts_by_group, sums), strict=True):
        values += (one, other, shared) if one < other else (other, one, shared)
    return values


def _jaccard(one: frozenset[_Item], other: frozenset[_Item]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared + _TINY)
