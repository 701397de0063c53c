"""How much a word decides: the rarity of its stem among the authored prompts."""

import math
from collections import Counter
from dataclasses import dataclass

from penstock_cache.semantic.verification.words import stem, words_of

_MIN_PROMPTS = 3
_UNKNOWN_PROMPTS = 2


@dataclass(frozen=True, slots=True)
class Rarity:
    """Of stems that were seen often enough, and of all others."""

    of_stem: dict[str, float]
    unknown: float


def rarity(texts: list[str]) -> Rarity:
    """Logarithm of how few prompts have the stem; 1.0 for one that three have."""
    seen = Counter(found for text in texts for found in {stem(word.text) for word in words_of(text)})
    one = math.log(len(texts) / _MIN_PROMPTS)
    known = {each: math.log(len(texts) / count) / one for each, count in seen.items() if count >= _MIN_PROMPTS}
    return Rarity(known, math.log(len(texts) / _UNKNOWN_PROMPTS) / one)
