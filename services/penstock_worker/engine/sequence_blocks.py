"""Gives sequences their blocks, takes them back, and sees to it that what was computed once is found again.

Only full blocks are shared. A sequence writes only behind its full blocks, so a shared block is never written and
nothing is ever copied. Needs no torch.
"""

from array import array
from dataclasses import dataclass
from itertools import islice

from penstock_shared.prefix_chain import PrefixBlock, prefix_blocks
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.engine.sequence import Sequence, empty_ids


@dataclass(frozen=True, slots=True)
class PrefixStats:
    """Counters of a prefix cache; see `step_result.EngineStats`."""

    num_cached_blocks: int
    num_query_tokens: int
    num_hit_tokens: int
    num_evicted_blocks: int


class SequenceBlocks:
    """The block tables of the running sequences. With a pool that has no index, nothing is ever found or kept.

    Args:
        pool: where the blocks come from.
    """

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._num_query_tokens = 0
        self._num_hit_tokens = 0

    def find(self, sequence: Sequence) -> list[int]:
        """The blocks that hold its first tokens already, as far as these need not be computed."""
        if self._pool.index is None:
            return []
        return self._pool.index.find(
            islice(self.names(sequence), sequence.num_findable_tokens // self._pool.block_size)
        )

    def names(self, sequence: Sequence) -> list[PrefixBlock]:
        """The names of all full blocks of its tokens; none where nothing is kept."""
        named = sequence.prefix_blocks
        num_named_tokens = len(named) * self._pool.block_size
        if self._pool.index is not None and len(sequence.token_ids) - num_named_tokens >= self._pool.block_size:
            parent_hash = named[-1].hash if named else sequence.prefix_root
            named += prefix_blocks(parent_hash, sequence.token_ids[num_named_tokens:], self._pool.block_size)
        return named

    def start(self, sequence: Sequence, found: list[int]) -> list[int]:
        """Gives it the blocks of all its tokens: what was found, and fresh ones, which are returned."""
        self._pool.share(found)
        sequence.num_starts += 1
        sequence.block_ids = array("q", found)
        sequence.num_kept_blocks = len(found)
        sequence.num_computed_tokens = sequence.num_found_tokens = len(found) * self._pool.block_size
        if sequence.prefill_start_ns is None:
            sequence.cached_prompt_tokens = min(sequence.num_found_tokens, len(sequence.request.prompt_token_ids))
        if self._pool.index is not None:
            self._num_query_tokens += sequence.num_findable_tokens
            self._num_hit_tokens += sequence.num_found_tokens
        return self.grow(sequence, len(sequence.token_ids))

    def grow(self, sequence: Sequence, num_tokens: int) -> list[int]:
        """Gives it the blocks that it lacks for `num_tokens` tokens; returns them."""
        num_missing = self._pool.num_blocks_for(num_tokens) - len(sequence.block_ids)
        block_ids = self._pool.allocate(num_missing)
        sequence.block_ids.extend(block_ids)
        return block_ids

    def shrink(self, sequence: Sequence, num_tokens: int) -> None:
        """Takes back the blocks that `num_tokens` tokens do not need."""
        num_needed = self._pool.num_blocks_for(num_tokens)
        self._pool.release(sequence.block_ids[num_needed:])
        del sequence.block_ids[num_needed:]

    def keep_computed(self, sequence: Sequence) -> None:
        """Makes its full blocks findable, as far as they are computed.

        Where another sequence has computed the same meanwhile, its block takes the place of this one's.
        """
        index = self._pool.index
        num_full = sequence.num_computed_tokens // self._pool.block_size
        if index is None or num_full == sequence.num_kept_blocks:
            return
        names = self.names(sequence)
        for position in range(sequence.num_kept_blocks, num_full):
            own_id = sequence.block_ids[position]
            parent_id = sequence.block_ids[position - 1] if position else None
            kept_id = index.keep(names[position], own_id, parent_id)
            if kept_id is None:
                return
            if kept_id != own_id:
                self._pool.share([kept_id])
                self._pool.release([own_id])
                sequence.block_ids[position] = kept_id
            sequence.num_kept_blocks += 1

    def release(self, sequence: Sequence, *, is_spoilt: bool = False) -> None:
        """Takes its blocks. Where what is in them is spoilt, nobody finds them again."""
        if is_spoilt:
            self._pool.forget(set(sequence.block_ids))
        self._pool.release(sequence.block_ids)
        sequence.block_ids = empty_ids()
        sequence.num_kept_blocks = sequence.num_found_tokens = sequence.num_computed_tokens = 0

    def stats(self) -> PrefixStats:
        """The counters now."""
        num_cached = 0 if self._pool.index is None else len(self._pool.index)
        return PrefixStats(num_cached, self._num_query_tokens, self._num_hit_tokens, self._pool.num_evicted)

    def take_changes(self) -> list[PrefixChange]:
        """What can be found or can no more since the last call."""
        return [] if self._pool.index is None else self._pool.index.take_changes()
