"""The projection of the decoder's layers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it


@dataclass(frozen=True, slots=True)
class Linear:
    """A projection. `weight`: [out, in], `bias`: [out]."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Projects [..., in] to [..., out]."""
        return F.linear(x, self.weight, self.bias)
