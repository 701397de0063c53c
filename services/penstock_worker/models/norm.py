"""The norms of the residual stream, of queries and of keys."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """RMS norm over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467), in float32 inside.

    Written out since torch's own takes twice as long for a few rows on a CPU.

    Attributes:
        weight: [..., width]; float32 has the product rounded after it, and not before.
        eps: float32 [], added to the mean square.
    """

    weight: torch.Tensor
    eps: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises [..., width]."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.addcmul(self.eps, length, length, value=1 / x.shape[-1]).rsqrt_()
        return (x * scale).to(self.weight.dtype).mul_(self.weight).to(x.dtype)

    @property
    def parameters(self) -> tuple[torch.Tensor, ...]:
        """What the checkpoint holds of it."""
        return (self.weight,)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Layer norm over the last dimension (Ba et al. 2016, arXiv 1607.06450). `weight`, `bias`: [width]."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises [..., width]."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    @property
    def parameters(self) -> tuple[torch.Tensor, ...]:
        """What the checkpoint holds of it."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)


Norm = RmsNorm | LayerNorm
