"""A lean decoder for the families of the registry. Attention is a function that it is given: it knows no paging."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights, LayerWeights
from penstock_worker.models.rope import rope_frequencies

Attend = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention of one layer over all tokens of a step.

Takes the layer's index, queries [num_tokens, num_heads, head_dim], and keys and values [num_tokens, 2 * num_kv_heads,
head_dim], keys first. Keeps the keys and values and returns [num_tokens, num_heads * head_dim].
"""


class Decoder:
    """Token ids in, hidden states and logits out."""

    def __init__(self, config: DecoderConfig, weights: DecoderWeights) -> None:
        self._weights = weights
        self._num_heads = config.num_heads
        self._num_rotated_heads = config.num_heads + config.num_kv_heads
        self._head_dim = config.head_dim
        device = weights.embedding.device
        self._eps = torch.tensor(config.norm_eps, device=device)
        self._frequencies = rope_frequencies(config.rope, config.head_dim).to(device)
        self._unit = torch.ones(1, device=device)

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Runs all layers.

        Args:
            token_ids: int64 [num_tokens].
            positions: int64 [num_tokens], of each token in its sequence.
            attend: computes attention and keeps the keys and values.

        Returns:
            [num_tokens, hidden_size], before the final norm.
        """
        hidden = F.embedding(token_ids, self._weights.embedding)
        rotations = self._rotations(positions)
        for index, layer in enumerate(self._weights.layers):
            qkv = self._qkv(layer, hidden, rotations)
            attended = attend(index, qkv[:, : self._num_heads], qkv[:, self._num_heads :])
            hidden.add_(layer.output(attended))
            gate, up = layer.gate_up(self._norm(hidden, layer.mlp_norm)).chunk(2, dim=-1)
            hidden.add_(layer.down(F.silu(gate).mul_(up)))
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each row of `hidden`: float32 [num_rows, vocab_size]."""
        normed = self._norm(hidden, self._weights.final_norm)
        return self._weights.output_projection(normed).float()

    def _qkv(self, layer: LayerWeights, hidden: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values, the first two rotated: [num_tokens, num_heads + 2 * num_kv_heads, head_dim]."""
        qkv = layer.qkv(self._norm(hidden, layer.input_norm)).view(hidden.shape[0], -1, self._head_dim)
        rotated = qkv[:, : self._num_rotated_heads]
        if layer.qk_norm is not None:
            rotated.copy_(self._norm(rotated, layer.qk_norm))
        _rotate(rotated, rotations)
        return qkv

    def _rotations(self, positions: torch.Tensor) -> torch.Tensor:
        """Unit complex numbers: complex64 [num_tokens, 1, head_dim / 2]."""
        angles = positions.float().unsqueeze(-1) * self._frequencies
        return torch.polar(self._unit.expand_as(angles), angles).unsqueeze(1)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMS norm over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467), in float32 inside.

        Written out since torch's own takes twice as long for a few rows on a CPU.
        """
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.addcmul(self._eps, length, length, value=1 / x.shape[-1]).rsqrt_()
        return (x * scale).to(x.dtype).mul_(weight)


def _rotate(x: torch.Tensor, rotations: torch.Tensor) -> None:
    """Turns neighbouring pairs of the last dimension by their angles, in place; see `WeightReader` for their order."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    if x.dtype == torch.float32:
        pairs.mul_(rotations)
    else:
        x.copy_(torch.view_as_real(pairs * rotations).flatten(-2))
