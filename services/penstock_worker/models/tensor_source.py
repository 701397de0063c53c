"""Where weights are read from."""

from collections.abc import Iterable
from typing import Protocol

import torch

from penstock_worker.models.cut import Cuts
from penstock_worker.models.rounded_weight import Grid


class TensorSource(Protocol):
    """Where a `WeightReader` has its tensors from."""

    @property
    def names(self) -> Iterable[str]:
        """Of all tensors there are."""
        ...

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """What `cuts` says of the tensor `name`."""
        ...

    def grid(self, name: str, cuts: Cuts) -> Grid | None:
        """The numbers that this part of the weight `name` is made of, where it is stored rounded."""
        ...
