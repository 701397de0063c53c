"""The KV cache's blocks: who holds which. Only numbers; the tensors are the model runner's. Needs no torch."""

from collections import Counter, deque
from collections.abc import Iterable


class BlockPool:
    """Hands out blocks of `block_size` token slots and counts the references to each.

    A block has one reference for each sequence that reads it, and goes to the end of the free queue with the last one.
    Blocks are handed out from the front: the one that has been free for longest comes first.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._free = deque(range(num_blocks))
        self._num_references = [0] * num_blocks

    def __repr__(self) -> str:
        return f"BlockPool({self.num_free} of {self.num_blocks} blocks free)"

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that `num_tokens` tokens fill, the last one perhaps in part."""
        return -(-num_tokens // self.block_size)

    def allocate(self, num_blocks: int) -> list[int]:
        """Takes `num_blocks` free blocks, one reference each. The caller has looked at `num_free`."""
        if num_blocks > len(self._free):
            raise ValueError(f"{num_blocks} blocks wanted of {self!r}")
        block_ids = [self._free.popleft() for _ in range(num_blocks)]
        for block_id in block_ids:
            self._num_references[block_id] = 1
        return block_ids

    def share(self, block_ids: Iterable[int]) -> None:
        """Adds a reference to each of these blocks, which somebody holds already."""
        for block_id in block_ids:
            if not self._num_references[block_id]:
                raise ValueError(f"block {block_id} is free")
            self._num_references[block_id] += 1

    def release(self, block_ids: Iterable[int]) -> None:
        """Drops one reference to each of these blocks."""
        for block_id in block_ids:
            if not self._num_references[block_id]:
                raise ValueError(f"block {block_id} is free")
            self._num_references[block_id] -= 1
            if not self._num_references[block_id]:
                self._free.append(block_id)

    def num_released_by(self, block_ids: Iterable[int]) -> int:
        """How many blocks `release(block_ids)` would free."""
        return sum(self._num_references[block_id] == 1 for block_id in block_ids)

    def check_invariants(self, block_ids_by_holder: Iterable[Iterable[int]]) -> None:
        """Raises AssertionError unless the holders' blocks and the free ones make up the pool exactly.

        Args:
            block_ids_by_holder: the blocks of each sequence that holds any.
        """
        held: Counter[int] = Counter()
        for block_ids in block_ids_by_holder:
            held.update(block_ids)
        expected = [held[block_id] for block_id in range(self.num_blocks)]
        if self._num_references != expected:
            raise AssertionError(f"references {self._num_references}, holders have {expected}")
        if len(set(self._free)) != len(self._free) or len(self._free) + len(held) != self.num_blocks:
            raise AssertionError(f"{self!r}: free {sorted(self._free)}, held {sorted(held)}")
        if any(self._num_references[block_id] for block_id in self._free):
            raise AssertionError("a held block is among the free ones")
