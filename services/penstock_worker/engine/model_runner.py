"""Runs a step plan on the model: plain numbers in, logits out."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What comes back from a step.

    Attributes:
        values: float32 [num_rows, vocab_size], on device; one row per chunk that needs logits, in the plan's order.
    """

    values: torch.Tensor
