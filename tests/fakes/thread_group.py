"""A `TensorGroup` of threads of one process, which finds out where members do not call the same."""

import threading

import torch

_PATIENCE_S = 60.0


class ThreadGroup:
    """One member. Made by `thread_groups`."""

    def __init__(self, rank: int, slots: list[tuple[str, torch.Tensor]], barrier: threading.Barrier) -> None:
        self.rank = rank
        self.size = len(slots)
        self.num_calls = 0
        self._slots = slots
        self._barrier = barrier

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `TensorGroup`."""
        parts = self._exchange("all_reduce", tensor)
        assert {part.shape for part in parts} == {tensor.shape}
        total = parts[0].clone()
        for part in parts[1:]:
            total.add_(part)
        self._barrier.wait(_PATIENCE_S)  # nobody reads the parts any more
        return tensor.copy_(total)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """See `TensorGroup`."""
        parts = self._exchange("gather", tensor)
        gathered = torch.cat(parts, dim=-1) if self.rank == 0 else None
        self._barrier.wait(_PATIENCE_S)
        return gathered

    def abort(self) -> None:
        """Has the others fail, and not wait for who will not come."""
        self._barrier.abort()

    def _exchange(self, operation: str, tensor: torch.Tensor) -> list[torch.Tensor]:
        self.num_calls += 1
        self._slots[self.rank] = (operation, tensor)
        self._barrier.wait(_PATIENCE_S)
        assert {(name, part.dtype) for name, part in self._slots} == {(operation, tensor.dtype)}
        return [part for _, part in self._slots]


def thread_groups(size: int) -> list[ThreadGroup]:
    """The members of one group, by rank."""
    slots = [("", torch.empty(0))] * size
    barrier = threading.Barrier(size)
    return [ThreadGroup(rank, slots, barrier) for rank in range(size)]
