"""A lean decoder for the families of the registry. Attention is a function that it is given: it knows no paging."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights, LayerWeights
from penstock_worker.models.rope import RotaryPositions, Rotate, rotate
from penstock_worker.models.tensor_group import ALONE, TensorGroup

Attend = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention of one layer over all tokens of a step.

Takes the layer's index, queries [num_tokens, num_heads, head_dim], and keys and values [num_tokens, 2 * num_kv_heads,
head_dim], keys first. Keeps the keys and values and returns [num_tokens, num_heads * head_dim]. What it computes is
described by an `AttentionConfig`.
"""


class Decoder:
    """Token ids in, hidden states and logits out; or of a stage of a model, hidden states in or out.

    Args:
        config: shapes and switches; of a shard as `shard_config` has them.
        weights: in their kernels.
        rotate: turns queries and keys by their positions.
        group: those that hold parts of the same layers.
    """

    def __init__(
        self, config: DecoderConfig, weights: DecoderWeights, rotate: Rotate = rotate, group: TensorGroup = ALONE
    ) -> None:
        self._weights = weights
        self._group = group
        self._vocab_size = config.vocab_size
        self._rotate = rotate
        self._num_heads = config.num_heads
        self._num_rotated_heads = config.num_heads + config.num_kv_heads
        self._head_dim = config.head_dim
        self._rotary_dim = config.rotary_dim
        self._is_parallel = config.is_parallel
        # Rounded to the dtype, as it was in training.
        self._embedding_scale: torch.Tensor | None = None
        if config.embedding_scale is not None:
            self._embedding_scale = torch.tensor(config.embedding_scale, dtype=weights.dtype, device=weights.device)
        self._logit_cap = config.logit_cap
        ropes = [rope for rope in dict.fromkeys(config.ropes) if rope is not None]
        self._rotary_positions = [RotaryPositions(rope, config.head_dim, weights.device) for rope in ropes]
        self._rope_indices = [None if rope is None else ropes.index(rope) for rope in config.ropes]

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Runs all layers.

        Args:
            token_ids: int64 [num_tokens].
            positions: int64 [num_tokens], of each token in its sequence.
            attend: computes attention and keeps the keys and values.

        Returns:
            [num_tokens, hidden_size], before the final norm.
        """
        return self.run_layers(self.embed(token_ids, positions), positions, attend)

    def embed(self, token_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """What goes into the lowest layer: [num_tokens, hidden_size]."""
        hidden = self._embedded(token_ids)
        if self._embedding_scale is not None:
            hidden.mul_(self._embedding_scale)
        if self._weights.positions is not None:
            hidden.add_(F.embedding(positions, self._weights.positions))
        return hidden if self._weights.embedding_norm is None else self._weights.embedding_norm(hidden)

    def run_layers(self, hidden: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Runs the layers on `hidden`, [num_tokens, hidden_size], in place; returns what comes out of the highest."""
        rotations = [rotary.rotations(positions) for rotary in self._rotary_positions]
        for index, layer in enumerate(self._weights.layers):
            rope_index = self._rope_indices[index]
            normed = layer.input_norm(hidden)
            qkv = self._qkv(layer, normed, None if rope_index is None else rotations[rope_index])
            attended = layer.output(attend(index, qkv[:, : self._num_heads], qkv[:, self._num_heads :]))
            if self._is_parallel:
                expanded = layer.mlp(normed if layer.mlp_norm is None else layer.mlp_norm(hidden))
                hidden.add_(self._group.all_reduce(attended.add_(expanded)))
            else:
                self._add_sequentially(hidden, layer, attended)
        return hidden

    def final_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Rows of `hidden` after the final norm, as embeddings are made of them: [num_rows, hidden_size].

        What an earlier stage returns is of no use.
        """
        return hidden if self._weights.final_norm is None else self._weights.final_norm(hidden)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each row of `hidden`: float32 [num_rows, vocab_size].

        Rank 0 of the last stage has them; it puts the others' parts beside its own. The others get zeros.
        """
        projection, gathered = self._weights.output_projection, None
        if projection is not None:
            gathered = self._group.gather(projection(self.final_hidden(hidden)))
        if gathered is None:
            return torch.zeros(1, 1, device=hidden.device).expand(len(hidden), self._vocab_size)
        logits = gathered.float()
        if self._logit_cap is not None:
            logits.div_(self._logit_cap).tanh_().mul_(self._logit_cap)
        return logits

    def _embedded(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Rows of the embedding; each shard has the rows of some tokens, and zeros for the others'."""
        embedding = self._weights.embedding
        assert embedding is not None
        if self._group.size == 1:
            return F.embedding(token_ids, embedding)
        rows = token_ids - self._weights.first_token_id
        is_elsewhere = (rows < 0) | (rows >= len(embedding))
        hidden = F.embedding(rows.masked_fill(is_elsewhere, 0), embedding)
        return self._group.all_reduce(hidden.masked_fill_(is_elsewhere.unsqueeze(1), 0.0))

    def _qkv(self, layer: LayerWeights, normed: torch.Tensor, rotations: torch.Tensor | None) -> torch.Tensor:
        """Queries, keys and values, the first two rotated: [num_tokens, num_heads + 2 * num_kv_heads, head_dim]."""
        qkv = layer.qkv(normed).view(normed.shape[0], -1, self._head_dim)
        rotated = qkv[:, : self._num_rotated_heads]
        if layer.qk_norm is not None:
            rotated.copy_(layer.qk_norm(rotated))
        if rotations is not None:
            self._rotate(rotated[..., : self._rotary_dim], rotations)
        return qkv

    def _add_sequentially(self, hidden: torch.Tensor, layer: LayerWeights, attended: torch.Tensor) -> None:
        """Adds what attention and then the MLP of a sequential layer make of `hidden`, in place."""
        assert layer.mlp_norm is not None
        attended = self._group.all_reduce(attended)
        hidden.add_(attended if layer.attention_post_norm is None else layer.attention_post_norm(attended))
        expanded = self._group.all_reduce(layer.mlp(layer.mlp_norm(hidden)))
        hidden.add_(expanded if layer.mlp_post_norm is None else layer.mlp_post_norm(expanded))
