"""How the processes that hold parts of the same layers add up and put together what they compute."""

from typing import Protocol

import torch


class TensorGroup(Protocol):
    """The shards of one stage. Every one of them makes the same calls in the same order, with tensors of one dtype."""

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Makes `tensor` the sum of all ranks' and returns it. Added in the order of ranks: all get the same bits."""
        ...

    def gather(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """On rank 0 all ranks' tensors along the last dimension, where their sizes may differ; None elsewhere."""
        ...


class Alone:
    """A group of one process."""

    rank = 0
    size = 1

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` as it is."""
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` as it is."""
        return tensor


ALONE = Alone()


def greatest(tensor: torch.Tensor, group: TensorGroup) -> torch.Tensor:
    """The greatest of all ranks' numbers in each place: float32, the same on every rank."""
    if group.size == 1:
        return tensor.float()
    of_ranks = torch.zeros(group.size, *tensor.shape, device=tensor.device)  # a sum of which one term is not zero
    of_ranks[group.rank] = tensor
    return group.all_reduce(of_ranks).amax(dim=0)
