"""All-reduce and gather through memory that the processes of one host share.

Operation n of a member uses its slot n % 2. When it is through, every member has begun n, and so has read all of
operation n - 1. That is why one barrier an operation is enough: nobody reads what operation n + 1 overwrites.
"""

from collections.abc import Iterator

import torch

from penstock_worker.parallel.shared_region import NUM_SLOTS, SharedRegion


class SharedMemoryGroup:
    """`TensorGroup` of processes of one host, for tensors on the CPU.

    Args:
        region: shared by all members, and by nobody else in these areas.
        stage: whose members these are.
        rank: this member.
    """

    def __init__(self, region: SharedRegion, stage: int, rank: int) -> None:
        self.rank = rank
        self.size = region.layout.topology.tensor_parallel
        self._slot_bytes = region.layout.slot_bytes
        areas = [region.layout.group_area(stage, member) for member in range(self.size)]
        self._begun = [region.counter(area) for area in areas]
        self._others = [counter for member, counter in enumerate(self._begun) if member != rank]
        memory = torch.frombuffer(region.memory, dtype=torch.uint8)
        self._slots = [
            [
                memory[start : start + self._slot_bytes]
                for start in (region.slot_offset(area, i) for i in range(NUM_SLOTS))
            ]
            for area in areas
        ]
        self._num_begun = 0

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of all members' tensors, in place, in the order of ranks: all get the same bits."""
        flat = tensor.view(-1)
        for piece in torch.split(flat, self._slot_bytes // tensor.element_size()):
            parts = self._exchange(piece, len(piece))
            if self.size == 2:  # noqa: PLR2004 a sum of two is the same in either order
                piece.add_(parts[1 - self.rank])
            else:
                piece.copy_(torch.stack(parts).sum(dim=0, dtype=torch.float32))
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Rank 0: the members' [num_rows, width], side by side; widths may differ. Others: None."""
        widths = self._widths(tensor)
        gathered = tensor.new_empty(len(tensor), sum(widths)) if self.rank == 0 else None
        for begin, end in self._row_pieces(tensor, max(widths)):
            sizes = [(end - begin) * width for width in widths]
            parts = self._exchange(tensor[begin:end].reshape(-1), *sizes)
            if gathered is not None:
                shaped = [part.view(end - begin, -1) for part in parts]
                torch.cat(shaped, dim=1, out=gathered[begin:end])
        return gathered

    def _row_pieces(self, tensor: torch.Tensor, widest: int) -> Iterator[tuple[int, int]]:
        """First and last row, exclusive, of each piece that fits into a slot."""
        num_rows = self._slot_bytes // (widest * tensor.element_size())
        if not num_rows:
            raise ValueError(f"a row of {widest} numbers does not fit into {self._slot_bytes} bytes")
        for begin in range(0, len(tensor), num_rows):
            yield begin, min(begin + num_rows, len(tensor))

    def _widths(self, tensor: torch.Tensor) -> list[int]:
        own = torch.tensor([tensor.shape[-1]])
        return [int(part) for part in self._exchange(own, 1)]

    def _exchange(self, own: torch.Tensor, *sizes: int) -> list[torch.Tensor]:
        """What each member has written for this operation, `sizes` numbers each; good until the next operation."""
        index = self._num_begun % NUM_SLOTS
        self._num_begun += 1
        slot = self._slots[self.rank][index]
        slot[: own.nbytes].view(own.dtype).copy_(own)
        self._begun[self.rank].set(self._num_begun)
        for counter in self._others:
            counter.wait_for(self._num_begun)
        if len(sizes) == 1:
            sizes = sizes * self.size
        itemsize = own.element_size()
        return [slots[index][: size * itemsize].view(own.dtype) for slots, size in zip(self._slots, sizes, strict=True)]
