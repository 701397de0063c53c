"""The decoder's weights, fused as they run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from penstock_worker.models.experts import RoutedExperts
from penstock_worker.models.linear import Linear
from penstock_worker.models.mlp import GatedMlp, PlainMlp
from penstock_worker.models.norm import Norm, RmsNorm


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One decoder layer.

    Attributes:
        input_norm: before attention.
        qkv: fused queries, keys, values, [hidden] to [(heads + 2 kv_heads) * head_dim].
        qk_norm: of queries and keys, weight [heads + kv_heads, head_dim]; or None.
        output: [heads * head_dim] to [hidden].
        attention_post_norm: of what attention adds; or None.
        mlp_norm: before the MLP; None in a parallel layer whose MLP takes what attention takes.
        mlp: [hidden] to [hidden].
        mlp_post_norm: of what the MLP adds; or None.
    """

    input_norm: Norm
    qkv: Linear
    qk_norm: RmsNorm | None
    output: Linear
    attention_post_norm: Norm | None
    mlp_norm: Norm | None
    mlp: GatedMlp | PlainMlp | RoutedExperts
    mlp_post_norm: Norm | None

    def projections(self) -> dict[str, Linear]:
        """Every projection of the layer, by its name."""
        return {"qkv": self.qkv, "output": self.output, **self.mlp.projections}

    def norms(self) -> Iterator[Norm]:
        """Every norm of the layer."""
        candidates = (self.input_norm, self.qk_norm, self.attention_post_norm, self.mlp_norm, self.mlp_post_norm)
        return (norm for norm in candidates if norm is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderWeights:
    """All weights of a decoder, or what a shard holds of them; only the first stage embeds, only the last has logits.

    Attributes:
        dtype: that the model runs in.
        device: where all tensors are.
        first_token_id: that the embedding and the output projection have a row of.
        embedding: [vocab, hidden]; None in later stages.
        positions: [positions, hidden], learned positions; or None.
        embedding_norm: after the embedding; or None.
        layers: from the lowest.
        final_norm: before the output projection; None in earlier stages.
        output_projection: [hidden] to [vocab]; where they are tied, its weight is the embedding until it is packed.
            None in earlier stages.
    """

    dtype: torch.dtype
    device: torch.device
    first_token_id: int
    embedding: torch.Tensor | None
    positions: torch.Tensor | None
    embedding_norm: Norm | None
    layers: tuple[LayerWeights, ...]
    final_norm: Norm | None
    output_projection: Linear | None

    @property
    def num_bytes(self) -> int:
        """Memory of all weights; a tied output projection takes its own only where it is packed."""
        tables = [table for table in (self.embedding, self.positions) if table is not None]
        tensors = [*tables, *(tensor for norm in self._norms() for tensor in norm.parameters)]
        projections = [projection for layer in self.layers for projection in layer.projections().values()]
        output = self.output_projection
        if output is not None and (output.is_packed or output.weight is not self.embedding):
            projections.append(output)
        return sum(tensor.nbytes for tensor in tensors) + sum(projection.num_bytes for projection in projections)

    def _norms(self) -> Iterator[Norm]:
        yield from (norm for norm in (self.embedding_norm, self.final_norm) if norm is not None)
        for layer in self.layers:
            yield from layer.norms()
