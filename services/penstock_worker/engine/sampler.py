"""Chooses the next tokens from the logits."""

from collections.abc import Sequence as ReadOnlyList
from typing import NamedTuple

import torch
from penstock_shared.errors import PenstockError

from penstock_worker.engine.sequence import Sequence, TokenLogprobs


class SampledToken(NamedTuple):
    """The token chosen for one sequence, with its log probabilities where they are wanted."""

    token_id: int
    logprobs: TokenLogprobs | None


class Sampler:
    """Chooses one token for each sequence of a step."""

    def sample(self, logits: torch.Tensor, sequences: ReadOnlyList[Sequence]) -> list[SampledToken | PenstockError]:
        """Chooses the next token of each sequence; an error for one whose logits are not numbers.

        Args:
            logits: float32 [len(sequences), vocab_size]; may be written to.
            sequences: their tokens so far.
        """
        raise NotImplementedError
