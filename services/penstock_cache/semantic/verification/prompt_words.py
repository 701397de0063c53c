"""A prompt as the verifier compares it: words with weight and vectors, and what is seen without vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.token_codec import StoredTokens
from penstock_cache.semantic.verification.word_groups import FUNCTION_WORDS, OPPOSITES, WORD_GROUPS
from penstock_cache.semantic.verification.words import Word, num_negations, numbers_of, stem, words_of

_FUNCTION_WEIGHT = 0.15
_MIN_WEIGHT, _MAX_WEIGHT = 0.02, 1.2
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class PromptWords:
    """One prompt; never empty, for a prompt of no words has one without text and weight.

    Attributes:
        words, stems: in order.
        weights: float32 [num_words], how much a word decides.
        vectors: float32 [num_words, num_layers, width], of unit length.
        weight_of_stem: the heaviest word of each stem.
        bigrams: neighbouring stems.
        before_stem: the word before each stem.
        trigrams: of characters, function words left out.
        numbers: in digits.
        groups: words of each group of `WORD_GROUPS`.
        opposites: of its words.
        num_negations: how often it says no.
    """

    words: list[str]
    stems: list[str]
    weights: NDArray[np.float32]
    vectors: NDArray[np.float32]
    weight_of_stem: dict[str, float]
    bigrams: frozenset[tuple[str, str]]
    before_stem: dict[str, str]
    trigrams: frozenset[str]
    numbers: frozenset[str]
    groups: tuple[frozenset[str], ...]
    opposites: frozenset[str]
    num_negations: int


def prompt_words(text: str, tokens: StoredTokens, rarity: Mapping[str, float], unknown_rarity: float) -> PromptWords:
    """Words of the prompt that the encoder saw. `rarity` is of stems."""
    found = words_of(text)
    owners = _owners(found, tokens)
    seen = sorted(set(owners[owners >= 0].tolist()))
    words = [found[position].text for position in seen]
    stems = [stem(word) for word in words]
    raw = [rarity.get(s, unknown_rarity) * _share(word) for word, s in zip(words, stems, strict=True)]
    weights = np.clip(np.asarray(raw or [0.0], np.float32), _MIN_WEIGHT, _MAX_WEIGHT)
    own = frozenset(words)
    return PromptWords(
        words=words,
        stems=stems,
        weights=weights,
        vectors=_word_vectors(owners, tokens.vectors),
        weight_of_stem=_heaviest(stems, weights.tolist()),
        bigrams=frozenset(pairwise(stems)),
        before_stem=dict(zip(stems[1:], words, strict=False)),
        trigrams=_trigrams(words),
        numbers=numbers_of(words),
        groups=tuple(own & group for group in WORD_GROUPS.values()),
        opposites=frozenset().union(*(OPPOSITES.get(word, frozenset()) for word in own)),
        num_negations=num_negations(text),
    )


def _share(word: str) -> float:
    return _FUNCTION_WEIGHT if word in FUNCTION_WORDS else 1.0


def _owners(words: list[Word], tokens: StoredTokens) -> NDArray[np.int64]:
    """[num_tokens] the word that each token lies in, -1 for none."""
    if not words:
        return np.full(len(tokens.ids), -1)
    begins = np.array([word.begin for word in words])
    ends = np.array([word.end for word in words])
    owner = np.searchsorted(ends, tokens.spans[:, 0], side="right")  # the first word that ends behind the token's begin
    is_inside = (owner < len(words)) & (begins[np.minimum(owner, len(words) - 1)] < tokens.spans[:, 1])
    return np.where(is_inside, owner, -1)


def _word_vectors(owners: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[num_words, num_layers, width] mean over each word's tokens, of unit length."""
    is_inside = owners >= 0
    if not is_inside.any():
        return np.zeros((1, *vectors.shape[1:]), np.float32)
    own = owners[is_inside]
    starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    sums = np.add.reduceat(vectors[is_inside], starts, axis=0)
    unit: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=-1, keepdims=True), _TINY)
    return unit


def _heaviest(stems: list[str], weights: list[float]) -> dict[str, float]:
    heaviest: dict[str, float] = {}
    for each, weight in zip(stems, weights, strict=False):
        heaviest[each] = max(heaviest.get(each, 0.0), weight)
    return heaviest


def _trigrams(words: list[str]) -> frozenset[str]:
    joined = "".join(f" {word}" for word in words if word not in FUNCTION_WORDS) + " "
    return frozenset(joined[begin : begin + 3] for begin in range(len(joined) - 2))
