"""Paged attention: keeps keys and values in blocks, and attends over them for all sequences of a step at once.

Chunks of similar shape form a group, padded to its longest chunk. Each group costs one gather of its blocks and one
`scaled_dot_product_attention`, however many sequences it has. What differs between layers is only their window, so all
that does not depend on a layer's tensors is prepared once per step and window.
"""

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.engine.attention_groups import AttentionGroup, Grouping
from penstock_worker.engine.batch import StepBatch
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.soft_cap import capped_attention
from penstock_worker.models.attention_config import AttentionConfig


class StepAttention:
    """Attention over all tokens of one step; the `Attend` of a decoder.

    Args:
        cache: keeps the keys and values.
        batch: the step.
        config: what the model computes.
    """

    def __init__(self, cache: KvCache, batch: StepBatch, config: AttentionConfig) -> None:
        self._cache = cache
        self._config = config
        self._slots = torch.from_numpy(batch.slots).to(cache.values.device)
        self._groups = {
            window: Grouping(cache, batch, window, config.alibi_slopes).groups() for window in set(config.windows)
        }

    def __call__(self, layer: int, queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        """Keeps keys and values, then attends.

        Args:
            layer: index of the layer.
            queries: [num_tokens, num_heads, head_dim].
            keys_values: [num_tokens, 2 * num_kv_heads, head_dim], keys first.

        Returns:
            [num_tokens, num_heads * head_dim].
        """
        self._cache.write(layer, self._slots, keys_values)
        groups = self._groups[self._config.windows[layer]]
        if len(groups) == 1 and isinstance(groups[0].rows, slice):
            return self._attend(layer, queries, groups[0])
        attended = queries.new_empty(queries.shape).flatten(1)
        for group in groups:
            if isinstance(group.rows, slice):
                attended[group.rows] = self._attend(layer, queries[group.rows], group)
            else:
                lanes = self._attend(layer, queries.index_select(0, group.rows.padded), group)
                attended.index_copy_(0, group.rows.rows, lanes.index_select(0, group.rows.lanes))
        return attended

    def _attend(self, layer: int, queries: torch.Tensor, group: AttentionGroup) -> torch.Tensor:
        """Attends with [num_sequences * num_queries, num_heads, head_dim] of `group`."""
        keys, values = self._cache.read(layer, group.block_tables)
        num_sequences, num_lanes = group.block_tables.shape[0], queries.shape[0]
        if group.num_queries == 1:  # the heads that share a key take the place of queries: one product for all of them
            folded = queries.view(num_sequences, keys.shape[1], -1, queries.shape[-1])
            return self._product(folded, keys, values, group.mask).reshape(num_lanes, -1)
        by_head = queries.view(num_sequences, group.num_queries, *queries.shape[1:]).transpose(1, 2)
        attended = self._product(by_head, keys, values, group.mask)
        return attended.transpose(1, 2).reshape(num_lanes, -1)

    def _product(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Attention of [num_sequences, heads, num_queries, head_dim]; keys and values may have fewer heads."""
        scale, soft_cap = self._config.scale, self._config.soft_cap
        if soft_cap is not None:
            return capped_attention(queries, keys, values, mask, scale=scale, soft_cap=soft_cap)
        is_grouped = queries.shape[1] != keys.shape[1]
        return F.scaled_dot_product_attention(queries, keys, values, mask, scale=scale, enable_gqa=is_grouped)
