"""A projection behind one call, whatever computes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.models.cut import Cut, whole
from penstock_worker.models.rounded_weight import Grid
from penstock_worker.models.tensor_group import ALONE, TensorGroup


class LinearKernel(Protocol):
    """Computes a projection from weights in a form of its own."""

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Projects [num_rows, in] to [num_rows, out], in the dtype of `x`."""
        ...


@dataclass(frozen=True, slots=True)
class PlainKernel:
    """The weights as they are. `weight`: [out, in], `bias`: [out]."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class SharedInputs:
    """What a shard that has a part of a projection's inputs must know: it computes one of the terms of the result.

    Attributes:
        inputs: that it has.
        group: those that have the others.
    """

    inputs: Cut
    group: TensorGroup


KernelMaker = Callable[[torch.Tensor, torch.Tensor | None], LinearKernel]
"""Makes a kernel of a weight, [out, in], and a bias, [out] or None."""


class Linear:
    """A projection. Plain until `pack` has another kernel take its weights over.

    Args:
        weight: [out, in].
        bias: [out], or None.
        grid: the numbers that the weight is made of, where its checkpoint stores it rounded.
        shared_inputs: where other shards have inputs of their own.
    """

    __slots__ = ("_kernel", "grid", "shared_inputs")

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        grid: Grid | None = None,
        shared_inputs: SharedInputs | None = None,
    ) -> None:
        self._kernel: LinearKernel = PlainKernel(weight, bias)
        self.grid = grid
        self.shared_inputs = shared_inputs

    @property
    def weight(self) -> torch.Tensor:
        """[out, in]; only before packing."""
        return self._plain.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """[out], or None; only before packing."""
        return self._plain.bias

    @property
    def inputs(self) -> Cut:
        """Of all shards together, what it has; only before packing."""
        return whole(self.weight.shape[1]) if self.shared_inputs is None else self.shared_inputs.inputs

    @property
    def group(self) -> TensorGroup:
        """Those that share the inputs."""
        return ALONE if self.shared_inputs is None else self.shared_inputs.group

    @property
    def is_packed(self) -> bool:
        """Whether another kernel has taken the weights over."""
        return not isinstance(self._kernel, PlainKernel)

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        return self._kernel.num_bytes

    def pack(self, make: KernelMaker) -> None:
        """Hands the weights to another kernel and lets go of them."""
        self._kernel = make(self.weight, self.bias)
        self.grid = None

    def wrap(self, wrap: Callable[[LinearKernel], LinearKernel]) -> None:
        """Has another kernel compute what the one before it did, and more. Not packed any more after that."""
        self._kernel = wrap(self._kernel)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Projects [num_rows, in] to [num_rows, out]."""
        return self._kernel(x)

    @property
    def _plain(self) -> PlainKernel:
        assert isinstance(self._kernel, PlainKernel), "its weights are packed"
        return self._kernel
