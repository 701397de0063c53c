"""Attention with capped scores, as Gemma 2 has it. No fused kernel on a CPU does it, so it is written out."""

import torch


def capped_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    *,
    scale: float,
    soft_cap: float,
) -> torch.Tensor:
    """Attends with scores `soft_cap * tanh(score / soft_cap)`.

    Args:
        queries: [num_sequences, num_heads, num_queries, head_dim].
        keys: [num_sequences, num_kv_heads, num_keys, head_dim]; `num_kv_heads` divides `num_heads`.
        values: as `keys`.
        mask: added after the cap: [num_sequences, 1, num_queries, num_keys].
        scale: multiplies the product of query and key.
        soft_cap: no score is beyond it.

    Returns:
        As `queries`.
    """
    by_key_head = queries.reshape(queries.shape[0], keys.shape[1], -1, *queries.shape[2:])
    scores = torch.matmul(by_key_head, keys.unsqueeze(2).transpose(-1, -2)).float()
    scores.mul_(scale / soft_cap).tanh_().mul_(soft_cap)
    scores.add_(mask.unsqueeze(2))
    return torch.matmul(scores.softmax(dim=-1).to(values.dtype), values.unsqueeze(2)).flatten(1, 2)
