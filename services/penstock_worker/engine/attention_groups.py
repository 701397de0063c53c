"""Sorts the chunks of a step into groups that attend together, and prepares all but what a layer brings."""

from dataclasses import dataclass

import numpy as np
import torch

from penstock_worker.engine.batch import Ids, StepBatch, padded_groups
from penstock_worker.engine.kv_cache import KvCache


@dataclass(frozen=True, slots=True)
class RaggedRows:
    """Where the queries of a padded group come from and its outputs go.

    Attributes:
        padded: [num_sequences * num_queries], row of the step for each lane of the group; any row for a padding lane.
        lanes: [num_tokens of the group], the lanes that are no padding.
        rows: [num_tokens of the group], the rows of the step that these lanes stand for.
    """

    padded: torch.Tensor
    lanes: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Chunks that attend together, each padded to `num_queries` tokens.

    Attributes:
        num_queries: tokens of the longest chunk.
        rows: the chunks' rows of the step, where they lie end to end and have equal lengths; else how to gather them.
        block_tables: [num_sequences, num_blocks], the blocks that any query of the chunk sees.
        mask: added to the scores, -inf where a query does not see a key: [num_sequences, 1, num_queries, num_blocks *
            block_size]; with ALiBi one for each query head, which for single queries stand as [num_sequences,
            num_kv_heads, heads of a key head, num_blocks * block_size].
    """

    num_queries: int
    rows: slice | RaggedRows
    block_tables: torch.Tensor
    mask: torch.Tensor


class Grouping:
    """Makes the groups of a step for one window.

    Args:
        cache: gives the block size, the padding block and the device.
        batch: the step.
        window: how many positions a token sees; None sees all before it.
        alibi_slopes: see `AttentionConfig`.
        tile_blocks: of how many blocks, counted from a sequence's first, all or none are in its table.
    """

    def __init__(
        self,
        cache: KvCache,
        batch: StepBatch,
        window: int | None,
        alibi_slopes: tuple[float, ...] | None = None,
        tile_blocks: int = 1,
    ) -> None:
        self._cache = cache
        self._batch = batch
        self._window = window
        self._alibi_slopes = alibi_slopes
        self._device = cache.values.device
        self._first_blocks = self._first_visible_blocks() // tile_blocks * tile_blocks
        last_blocks = (batch.starts + batch.lengths - 1) // cache.block_size
        num_blocks = last_blocks - self._first_blocks + 1
        self._num_blocks = -(-num_blocks // tile_blocks) * tile_blocks

    def groups(self) -> list[AttentionGroup]:
        """The groups; each chunk is in one of them."""
        members = padded_groups(self._batch.lengths, self._num_blocks * self._cache.block_size)
        return [self._group(chunks) for chunks in members]

    def _first_visible_blocks(self) -> Ids:
        """The first block that any query of a chunk sees: [num_chunks]."""
        if self._window is None:
            return np.zeros_like(self._batch.starts)
        return np.maximum(self._batch.starts - self._window + 1, 0) // self._cache.block_size

    def _group(self, chunks: Ids) -> AttentionGroup:
        num_queries = int(self._batch.lengths[chunks].max())
        block_tables = self._block_tables(chunks)
        first_keys = self._to_device(self._first_blocks[chunks] * self._cache.block_size)
        queries = self._to_device(self._batch.starts[chunks])[:, None] + self._range(num_queries)
        keys = first_keys[:, None] + self._range(block_tables.shape[1] * self._cache.block_size)
        mask = visibility_mask(queries, keys, self._window)
        if self._alibi_slopes is not None:
            mask = mask + alibi_bias(queries, keys, torch.tensor(self._alibi_slopes, device=self._device))
            if num_queries == 1:
                mask = mask.view(len(chunks), self._cache.num_kv_heads, -1, mask.shape[-1])
        mask = mask.to(self._cache.values.dtype)
        return AttentionGroup(num_queries, self._rows(chunks, num_queries), block_tables, mask)

    def _block_tables(self, chunks: Ids) -> torch.Tensor:
        """The visible blocks of each chunk, padded: int64 [num_sequences, num_blocks], on device."""
        first_blocks, num_blocks = self._first_blocks[chunks], self._num_blocks[chunks]
        columns = np.arange(num_blocks.max())
        blocks = first_blocks[:, None] + columns
        is_seen = (columns < num_blocks[:, None]) & (blocks < self._batch.block_tables.shape[1])
        seen = np.where(is_seen, blocks, 0)
        tables = self._batch.block_tables[chunks[:, None], seen]
        return self._to_device(np.where(is_seen, tables, self._cache.padding_block_id))

    def _rows(self, chunks: Ids, num_queries: int) -> slice | RaggedRows:
        offsets, lengths = self._batch.offsets[chunks], self._batch.lengths[chunks]
        end_to_end = offsets[0] + np.arange(len(chunks)) * num_queries
        # Lengths too: a gap behind a shorter chunk may be another group's chunk.
        if (lengths == num_queries).all() and np.array_equal(offsets, end_to_end):
            return slice(int(offsets[0]), int(offsets[0]) + len(chunks) * num_queries)
        lanes = np.arange(num_queries)
        is_token = lanes < lengths[:, None]
        padded = np.where(is_token, offsets[:, None] + lanes, offsets[:, None])
        rows = (padded.ravel(), np.flatnonzero(is_token), padded[is_token])
        return RaggedRows(*map(self._to_device, rows))

    def _range(self, length: int) -> torch.Tensor:
        return torch.arange(length, device=self._device)

    def _to_device(self, ids: Ids) -> torch.Tensor:
        return torch.from_numpy(ids).to(self._device)


def visibility_mask(queries: torch.Tensor, keys: torch.Tensor, window: int | None) -> torch.Tensor:
    """Which keys each query sees: 0 or -inf, float32 [num_sequences, 1, num_queries, num_keys].

    Args:
        queries: [num_sequences, num_queries], position of each query.
        keys: [num_sequences, num_keys], position of each key.
        window: how many positions a query sees, its own included; None sees all before it.
    """
    distances = queries[:, None, :, None] - keys[:, None, None, :]
    is_hidden = distances < 0
    if window is not None:
        is_hidden |= distances >= window
    return torch.zeros(is_hidden.shape, device=queries.device).masked_fill_(is_hidden, float("-inf"))


def alibi_bias(queries: torch.Tensor, keys: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """What a score loses by distance: float32 [num_sequences, num_heads, num_queries, num_keys].

    Args:
        queries: [num_sequences, num_queries], position of each query.
        keys: [num_sequences, num_keys], position of each key.
        slopes: float32 [num_heads].
    """
    distances = queries[:, None, :, None] - keys[:, None, None, :]
    return -slopes[:, None, None] * distances
