"""How hidden states get from one stage to the next."""

from typing import Protocol

import torch


class StageLink(Protocol):
    """From one process to one of the next stage. What is sent first is received first."""

    def send(self, hidden: torch.Tensor) -> None:
        """Hands [num_tokens, hidden_size] over; waits while the other side is two of them behind."""

    def receive(self, hidden: torch.Tensor) -> torch.Tensor:
        """Fills [num_tokens, hidden_size], of the shape and dtype that is sent, and returns it."""
