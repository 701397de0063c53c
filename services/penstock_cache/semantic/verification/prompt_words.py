"""A prompt as the verifier compares it: its words with their weights and tokens, and what is seen without vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from penstock_cache.semantic.verification.token_codec import StoredTokens
from penstock_cache.semantic.verification.word_groups import FUNCTION_WORDS, GROUP_COUNTS, OPPOSITES
from penstock_cache.semantic.verification.words import Word, num_negations, numbers_of, stem, words_of

_FUNCTION_WEIGHT = 0.15
_MIN_WEIGHT, _MAX_WEIGHT = 0.02, 1.2


@dataclass(frozen=True, slots=True)
class PromptWords:
    """One prompt; never empty, for a prompt of no words has one without text and weight.

    Attributes:
        words, stems: in order.
        weights: of each word, how much it decides.
        owners: [num_tokens], the word that each token lies in, -1 for none.
        weight_of_stem: the heaviest word of each stem.
        bigrams: neighbouring stems.
        before_stem: the word before each stem.
        trigrams: of characters, function words left out.
        numbers: in digits.
        own: the words, each once.
        group_counts: `GROUP_COUNTS` of these, summed.
        opposites: of its words.
        num_negations: how often it says no.
    """

    words: list[str]
    stems: list[str]
    weights: list[float]
    owners: list[int]
    weight_of_stem: dict[str, float]
    bigrams: frozenset[tuple[str, str]]
    before_stem: dict[str, str]
    trigrams: frozenset[str]
    numbers: frozenset[str]
    own: frozenset[str]
    group_counts: int
    opposites: frozenset[str]
    num_negations: int


def prompt_words(text: str, tokens: StoredTokens, rarity: Mapping[str, float], unknown_rarity: float) -> PromptWords:
    """Words of the prompt that the encoder saw. `rarity` is of stems."""
    found = words_of(text)
    owners, seen = _owners(found, tokens)
    words = [found[position].text for position in seen]
    stems = [stem(word) for word in words]
    raw = [rarity.get(s, unknown_rarity) * _share(word) for word, s in zip(words, stems, strict=True)]
    weights = [min(max(weight, _MIN_WEIGHT), _MAX_WEIGHT) for weight in raw or [0.0]]
    own = frozenset(words)
    return PromptWords(
        words=words,
        stems=stems,
        weights=weights,
        owners=owners,
        weight_of_stem=_heaviest(stems, weights),
        bigrams=frozenset(pairwise(stems)),
        before_stem=dict(zip(stems[1:], words, strict=False)),
        trigrams=_trigrams(words),
        numbers=numbers_of(words),
        own=own,
        group_counts=sum(GROUP_COUNTS.get(word, 0) for word in own),
        opposites=frozenset().union(*(OPPOSITES.get(word, frozenset()) for word in own)),
        num_negations=num_negations(text),
    )


def _share(word: str) -> float:
    return _FUNCTION_WEIGHT if word in FUNCTION_WORDS else 1.0


def _owners(words: list[Word], tokens: StoredTokens) -> tuple[list[int], list[int]]:
    """For each token which of the words that have tokens it lies in, -1 for none; and positions of these words."""
    seen: list[int] = []
    owners, position = [], 0
    for begin, end in tokens.spans.tolist():
        while position < len(words) and words[position].end <= begin:
            position += 1
        is_inside = position < len(words) and words[position].begin < end
        if is_inside and seen[-1:] != [position]:
            seen.append(position)
        owners.append(len(seen) - 1 if is_inside else -1)
    return owners, seen


def _heaviest(stems: list[str], weights: list[float]) -> dict[str, float]:
    heaviest: dict[str, float] = {}
    for each, weight in zip(stems, weights, strict=False):
        heaviest[each] = max(heaviest.get(each, 0.0), weight)
    return heaviest


def _trigrams(words: list[str]) -> frozenset[str]:
    joined = "".join(f" {word}" for word in words if word not in FUNCTION_WORDS) + " "
    return frozenset(joined[begin : begin + 3] for begin in range(len(joined) - 2))
