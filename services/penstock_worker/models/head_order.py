"""In which order the numbers of queries and keys stand: the two halves of each head interleaved.

The rotary position then is a complex product of neighbours, one operation in place of five, and no dot product of a
query and a key changes.
"""

import torch

from penstock_worker.models.decoder_config import DecoderConfig


def qkv_order(config: DecoderConfig) -> torch.Tensor:
    """Which stored row each row of the fused projection is: int64 [qkv_size]."""
    rows = torch.arange(config.qkv_size)
    if config.names.is_qkv_grouped:
        groups = rows.view(config.num_kv_heads, -1, config.head_dim)
        queries, keys, values = groups[:, :-2], groups[:, -2], groups[:, -1]
        rows = torch.cat([queries.flatten(), keys.flatten(), values.flatten()])
    num_rotated = (config.num_heads + config.num_kv_heads) * config.head_dim
    rotated = rows[:num_rotated].view(-1, config.head_dim)
    order = head_order(config.head_dim, config.rotary_dim)
    return torch.cat([rotated[:, order].flatten(), rows[num_rotated:]])


def head_order(head_dim: int, rotary_dim: int) -> torch.Tensor:
    """The dimensions of a head, those that turn from two halves, (a0 a1 .. b0 b1 ..), to pairs, (a0 b0 a1 b1 ..)."""
    pairs = torch.arange(rotary_dim).view(2, -1).t().flatten()
    return torch.cat([pairs, torch.arange(rotary_dim, head_dim)])
