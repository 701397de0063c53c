"""The feed-forward part of a layer, gated or not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.models.linear import Linear

Activation = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}
"""By the names of `DecoderConfig.activation`."""


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """Two halves of one projection, of which the activated first scales the second (Shazeer 2020, arXiv 2002.05202).

    Attributes:
        gate_up: [hidden] to [2 * intermediate].
        down: [intermediate] to [hidden].
        activation: of the gate.
    """

    gate_up: Linear
    down: Linear
    activation: Activation

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[num_tokens, hidden] to the same."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate).mul_(up))

    @property
    def projections(self) -> Mapping[str, Linear]:
        """Its projections by name."""
        return {"gate_up": self.gate_up, "down": self.down}


@dataclass(frozen=True, slots=True)
class PlainMlp:
    """A projection up, an activation, a projection down. `up`: [hidden] to [intermediate], `down` back."""

    up: Linear
    down: Linear
    activation: Activation

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[num_tokens, hidden] to the same."""
        return self.down(self.activation(self.up(x)))

    @property
    def projections(self) -> Mapping[str, Linear]:
        """Its projections by name."""
        return {"up": self.up, "down": self.down}
