"""The tensors of the KV cache."""

import torch


class KvCache:
    """Keys and values of all layers, in blocks.

    It has one block more than the pool hands out: the last one stays zero and stands in where a table is padded.
    A block holds anything until it is cleared.

    Attributes:
        values: [num_layers, num_blocks + 1, block_size, 2 * num_kv_heads, head_dim], keys before values.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self._blocks = [layer.flatten(1) for layer in values]
        self._slots = [layer.flatten(0, 1) for layer in values]
        self.clear([self.padding_block_id])

    @property
    def block_size(self) -> int:
        """Tokens of a block."""
        return self.values.shape[2]

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys, and of values."""
        return self.values.shape[3] // 2

    @property
    def padding_block_id(self) -> int:
        """The block that is always zero."""
        return self.values.shape[1] - 1

    def clear(self, block_ids: list[int]) -> None:
        """Zeroes blocks in all layers."""
        self.values.index_fill_(1, torch.tensor(block_ids, device=self.values.device), 0.0)

    def write(self, layer: int, slots: torch.Tensor, keys_values: torch.Tensor) -> None:
        """Keeps `keys_values`, [num_tokens, 2 * num_kv_heads, head_dim], in `slots`, [num_tokens]."""
        self._slots[layer].index_copy_(0, slots, keys_values)

    def read(self, layer: int, block_tables: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of whole blocks: each [num_sequences, num_kv_heads, num_blocks * block_size, head_dim].

        Args:
            layer: index of the layer.
            block_tables: int64 [num_sequences, num_blocks].
        """
        gathered = self._blocks[layer].index_select(0, block_tables.flatten())
        head_dim = self.values.shape[4]
        gathered = gathered.view(block_tables.shape[0], -1, 2, self.num_kv_heads, head_dim)
        keys, values = gathered.unbind(2)
        return keys.transpose(1, 2), values.transpose(1, 2)
