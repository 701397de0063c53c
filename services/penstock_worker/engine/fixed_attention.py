"""Attention in which a query's result has the same bits, whatever is computed beside it.

Keys lie in tiles of constant length, counted from the beginning of the sequence. The products with a tile have one
shape for every step, but for the number of queries, which is a multiple of `QUERY_TILE`. The weights of a key that a
query does not see are exact zeros, and tiles are added up in their order. So it does not matter how many tiles follow,
what stands in them, or whether those before a window are there.
"""

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.engine.attention_groups import AttentionGroup, Grouping
from penstock_worker.engine.batch import StepBatch
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.models.attention_config import AttentionConfig

QUERY_TILE = 4
_KEY_TILE = 128
# Scores at one time; queries beyond wait.
_MAX_SCORES = 1 << 22


def num_tile_blocks(block_size: int) -> int:
    """KV blocks that make up a tile of keys."""
    return max(1, _KEY_TILE // block_size)


class FixedAttention:
    """Attention over all tokens of one step; the `Attend` of a decoder. Arguments as of `StepAttention`."""

    def __init__(self, cache: KvCache, batch: StepBatch, config: AttentionConfig) -> None:
        self._cache = cache
        self._config = config
        self._slots = torch.from_numpy(batch.slots).to(cache.values.device)
        self._tile = num_tile_blocks(cache.block_size) * cache.block_size
        self._groups = {
            window: Grouping(
                cache, batch, window, config.alibi_slopes, tile_blocks=num_tile_blocks(cache.block_size)
            ).groups()
            for window in set(config.windows)
        }

    @staticmethod
    def numerics(block_size: int) -> str:
        """What of it decides the bits of a result, for the numerics fingerprint."""
        return f"tiles {QUERY_TILE}x{num_tile_blocks(block_size) * block_size} threads {torch.get_num_threads()}"

    def __call__(self, layer: int, queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        """See `StepAttention`."""
        self._cache.write(layer, self._slots, keys_values)
        attended = queries.new_empty(queries.shape)
        for group in self._groups[self._config.windows[layer]]:
            if isinstance(group.rows, slice):
                attended[group.rows] = self._attend(layer, queries[group.rows], group)
            else:
                lanes = self._attend(layer, queries.index_select(0, group.rows.padded), group)
                attended.index_copy_(0, group.rows.rows, lanes.index_select(0, group.rows.lanes))
        return attended.flatten(1)

    def _attend(self, layer: int, queries: torch.Tensor, group: AttentionGroup) -> torch.Tensor:
        """Attends with [num_sequences * num_queries, num_heads, head_dim] of `group`."""
        keys, values = (self._tiles(part) for part in self._cache.read(layer, group.block_tables))
        num_sequences, num_kv_heads, num_tiles = keys.shape[:3]
        by_sequence = queries.view(num_sequences, group.num_queries, num_kv_heads, -1, queries.shape[-1])
        mask = self._by_tile(group.mask, group.num_queries, num_tiles)
        num_at_once = max(1, _MAX_SCORES // (num_sequences * queries.shape[1] * num_tiles * self._tile))
        parts = zip(torch.split(by_sequence, num_at_once, 1), torch.split(mask, num_at_once, 3), strict=True)
        attended = torch.cat([self._product(part, keys, values, part_mask) for part, part_mask in parts], dim=1)
        return attended.view(queries.shape)

    def _tiles(self, kept: torch.Tensor) -> torch.Tensor:
        """[num_sequences, num_kv_heads, num_keys, head_dim] as float32, its keys by tile."""
        num_tiles = kept.shape[2] // self._tile
        return kept.float().contiguous().view(*kept.shape[:2], num_tiles, self._tile, kept.shape[3])

    def _by_tile(self, mask: torch.Tensor, num_queries: int, num_tiles: int) -> torch.Tensor:
        """[num_sequences, 1 or num_kv_heads, num_tiles, num_queries, 1 or heads of a key head, tile]."""
        num_kv_heads = self._cache.num_kv_heads if self._config.alibi_slopes is not None else 1
        by_head = mask.reshape(len(mask), num_kv_heads, -1, num_queries, num_tiles, self._tile)
        return by_head.permute(0, 1, 4, 3, 2, 5)

    def _product(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Attention of some queries.

        Args:
            queries: [num_sequences, num_queries, num_kv_heads, heads of a key head, head_dim].
            keys: float32 [num_sequences, num_kv_heads, num_tiles, tile, head_dim]; `values` too.
            values: as `keys`.
            mask: as `_by_tile` gives it.

        Returns:
            As `queries`.
        """
        num_queries, num_shared = queries.shape[1], queries.shape[3]
        rows = queries.transpose(1, 2).flatten(2, 3).float()  # [num_sequences, num_kv_heads, rows, head_dim]
        num_rows = rows.shape[2]
        rows = F.pad(rows, (0, 0, 0, -num_rows % QUERY_TILE))
        of_tiles = rows.unsqueeze(2).expand(-1, -1, keys.shape[2], -1, -1)
        scores = _batched(of_tiles, keys.transpose(-1, -2)).mul_(self._config.scale)
        if (cap := self._config.soft_cap) is not None:
            scores.div_(cap).tanh_().mul_(cap)
        of_queries = scores[..., :num_rows, :]
        of_queries.view(*scores.shape[:3], num_queries, num_shared, self._tile).add_(mask)
        weights = scores.sub_(scores.amax((2, 4), keepdim=True)).exp_()
        totals, sums = _added_in_order(weights.sum(dim=-1, keepdim=True)), _added_in_order(_batched(weights, values))
        attended = sums.div_(totals)[:, :, :num_rows].view(*sums.shape[:2], num_queries, num_shared, -1)
        return attended.transpose(1, 2).to(queries.dtype)


def _batched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The matrix products of equal leading dimensions, by the one kernel for batches."""
    products = torch.bmm(left.flatten(0, 2), right.flatten(0, 2))
    return products.view(*left.shape[:3], *products.shape[1:])


def _added_in_order(of_tiles: torch.Tensor) -> torch.Tensor:
    """The sum over tiles, the third dimension, from the first to the last."""
    total = of_tiles[:, :, 0].clone()
    for tile in of_tiles.unbind(2)[1:]:
        total.add_(tile)
    return total
