"""How the vectors of a prompt's tokens become one. Needs no torch."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Pooling(Enum):
    """Which vectors count; all of them after the final norm."""

    MEAN = "mean"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What is made of a prompt in place of generating from it; `is_normalized` scales the vector to length 1."""

    pooling: Pooling
    is_normalized: bool


class PooledVector:
    """The vector of a prompt, put together from its chunks in float32."""

    def __init__(self, options: EmbeddingOptions) -> None:
        self._options = options
        self._total: Vector | None = None

    def take(self, pooled: Vector, start: int) -> None:
        """Takes in a chunk: what the runner made of its tokens, and the position of the first of them.

        A chunk at position 0 begins anew: the sequence was preempted and is computed again.
        """
        earlier = self._total if self._options.pooling is Pooling.MEAN and start > 0 else None
        self._total = pooled if earlier is None else earlier + pooled

    def finish(self, num_tokens: int) -> list[float]:
        """The embedding of a prompt of `num_tokens` tokens."""
        assert self._total is not None, "no chunk was computed"
        vector = self._total / num_tokens if self._options.pooling is Pooling.MEAN else self._total
        if self._options.is_normalized:
            length = float(np.linalg.norm(vector))
            vector = vector / length if length else vector
        return [float(value) for value in vector]
