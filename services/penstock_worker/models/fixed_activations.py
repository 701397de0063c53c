"""Activations whose bits do not depend on a number's place in its tensor.

torch's fused ones on a CPU compute most of a tensor with vector instructions and its end with scalar ones, which round
otherwise. Sums, products and quotients are exact to the last bit in both, and `exp`, `tanh` and `erf` treat the end as
the rest; measured with AVX2. So all is put together from these, in float32.
"""

import math
from collections.abc import Mapping

import torch

from penstock_worker.models.mlp import Activation

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """1 / (1 + exp(-x))."""
    return x.float().neg().exp_().add_(1.0).reciprocal_().to(x.dtype)


def silu(x: torch.Tensor) -> torch.Tensor:
    """X / (1 + exp(-x))."""
    wide = x.float()
    return wide.div(wide.neg().exp_().add_(1.0)).to(x.dtype)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """X / 2 * (1 + erf(x / sqrt(2)))."""
    wide = x.float()
    return wide.mul(math.sqrt(0.5)).erf_().add_(1.0).mul_(wide).mul_(0.5).to(x.dtype)


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """X / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))."""
    wide = x.float()
    inner = wide.mul(wide).mul_(_TANH_CUBIC).add_(1.0).mul_(wide).mul_(_TANH_SCALE)
    return inner.tanh_().add_(1.0).mul_(wide).mul_(0.5).to(x.dtype)


FIXED_ACTIVATIONS: Mapping[str, Activation] = {"silu": silu, "gelu": gelu, "gelu_tanh": gelu_tanh}
"""By the names of `DecoderConfig.activation`."""
