"""Several alignment heads that vote."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from penstock_cache.semantic.verification.alignment_head import AlignmentHead
from penstock_cache.semantic.verification.candidate_tokens import candidate_tokens
from penstock_cache.semantic.verification.dense import Array
from penstock_cache.semantic.verification.token_codec import StoredTokens

# Rarity is stored in steps of this, one byte a wordpiece.
RARITY_STEP = np.float32(1 / 200)


class AlignmentHeads:
    """The mean logit of heads that were trained apart.

    Args:
        weights: `rarity` (one byte for each wordpiece), and `head.<number>.<name>` for each head.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.generic]]) -> None:
        self._rarity: Array = weights["rarity"].astype(np.float32) * RARITY_STEP
        numbers = sorted({int(name.split(".")[1]) for name in weights if name.startswith("head.")})
        self._heads = [
            AlignmentHead(
                {
                    name.removeprefix(f"head.{number}."): array.astype(np.float32)
                    for name, array in weights.items()
                    if name.startswith(f"head.{number}.")
                }
            )
            for number in numbers
        ]

    def logits(self, prompts: Sequence[StoredTokens], vectors: Array, is_same: NDArray[np.bool_]) -> Array:
        """[K], not calibrated; `prompts` and the rows of `vectors` are the query, then its K candidates."""
        tokens = candidate_tokens(prompts, vectors, is_same, self._rarity)
        votes: Array = np.stack([head.logits(tokens) for head in self._heads])
        mean: Array = votes.mean(axis=0)
        return mean
