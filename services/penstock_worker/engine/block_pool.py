"""The KV cache's blocks: who holds which. Only numbers; the tensors are the model runner's. Needs no torch."""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence

from penstock_worker.engine.prefix_index import PrefixIndex


class BlockPool:
    """Hands out blocks of `block_size` token slots and counts the references to each.

    A block has one reference for each sequence that reads it, and is free with the last one gone. A free block whose
    contents the index knows is idle: it can be shared again until it is handed out to be written anew. Blocks without
    such contents are handed out first, then the one that has been idle for longest. Of a sequence's blocks the last
    becomes idle first, so no block loses its name before those that follow on it.

    Args:
        num_blocks: they are numbered from 0.
        block_size: tokens of a block.
        index: knows the blocks that can be used again; None: none ever is.
    """

    def __init__(self, num_blocks: int, block_size: int, index: PrefixIndex | None = None) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.index = index
        self.num_evicted = 0
        self._blank = deque(range(num_blocks))
        self._idle: dict[int, None] = {}  # an ordered set, longest idle first
        self._num_references = [0] * num_blocks

    def __repr__(self) -> str:
        return f"BlockPool({self.num_free} of {self.num_blocks} blocks free, {self.index!r})"

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds, idle ones included."""
        return len(self._blank) + len(self._idle)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that `num_tokens` tokens fill, the last one perhaps in part."""
        return -(-num_tokens // self.block_size)

    def allocate(self, num_blocks: int) -> list[int]:
        """Takes `num_blocks` free blocks to be written, one reference each. The caller has looked at `num_free`."""
        if num_blocks > self.num_free:
            raise ValueError(f"{num_blocks} blocks wanted of {self!r}")
        block_ids = [self._blank.popleft() if self._blank else self._evict() for _ in range(num_blocks)]
        for block_id in block_ids:
            self._num_references[block_id] = 1
        return block_ids

    def share(self, block_ids: Iterable[int]) -> None:
        """Adds a reference to each of these blocks, which somebody holds already or which are idle."""
        for block_id in block_ids:
            if not self._num_references[block_id]:
                if block_id not in self._idle:
                    raise ValueError(f"block {block_id} is free")
                del self._idle[block_id]
            self._num_references[block_id] += 1

    def release(self, block_ids: Sequence[int]) -> None:
        """Drops one reference to each of these blocks, the last one first."""
        for block_id in reversed(block_ids):
            if not self._num_references[block_id]:
                raise ValueError(f"block {block_id} is free")
            self._num_references[block_id] -= 1
            if not self._num_references[block_id]:
                self._free(block_id)

    def forget(self, block_ids: Collection[int]) -> None:
        """What these blocks hold, and what was computed from it, is not to be used again. Who holds them keeps them."""
        if self.index is None:
            return
        for block_id in self.index.remove_chains(block_ids):
            if block_id in self._idle:
                del self._idle[block_id]
                self._blank.append(block_id)

    def num_spare(self, wanted: Collection[int], released: Iterable[int] = ()) -> int:
        """Blocks that could be handed out if `released` were released first and `wanted` were not to be touched."""
        untouched = set(wanted)
        num_idle = sum(block_id in self._idle for block_id in untouched)
        counts = Counter(block_id for block_id in released if block_id not in untouched)
        num_freed = sum(self._num_references[block_id] == count for block_id, count in counts.items())
        return self.num_free - num_idle + num_freed

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
        free = [*self._blank, *self._idle]
        if sorted([*free, *held]) != list(range(self.num_blocks)):
            raise AssertionError(f"{self!r}: free {sorted(free)}, held {sorted(held)}")
        if self.index is not None:
            self.index.check_invariants()
            if any(block_id in self.index for block_id in self._blank):
                raise AssertionError("a blank block is in the index")
            if not all(block_id in self.index for block_id in self._idle):
                raise AssertionError("an idle block is not in the index")

    def _free(self, block_id: int) -> None:
        if self.index is not None and block_id in self.index:
            self._idle[block_id] = None
        else:
            self._blank.append(block_id)

    def _evict(self) -> int:
        """The block that has been idle for longest, forgotten."""
        block_id = next(iter(self._idle))
        del self._idle[block_id]
        assert self.index is not None, "idle blocks are the index's"
        self.index.remove(block_id)
        self.num_evicted += 1
        return block_id
