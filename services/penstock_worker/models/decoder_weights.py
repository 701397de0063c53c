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
    """All weights of a decoder.

    Attributes:
        embedding: [vocab, hidden].
        positions: [positions, hidden], learned positions; or None.
        embedding_norm: after the embedding; or None.
        layers: from the lowest.
        final_norm: before the output projection.
        output_projection: [hidden] to [vocab]; where they are tied, its weight is the embedding until it is packed.
    """

    embedding: torch.Tensor
    positions: torch.Tensor | None
    embedding_norm: Norm | None
    layers: tuple[LayerWeights, ...]
    final_norm: Norm
    output_projection: Linear

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the model runs in."""
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.embedding.device

    @property
    def num_bytes(self) -> int:
        """Memory of all weights; a tied output projection takes its own only where it is packed."""
        tensors = [self.embedding, *(tensor for norm in self._norms() for tensor in norm.parameters)]
        if self.positions is not None:
            tensors.append(self.positions)
        projections = [projection for layer in self.layers for projection in layer.projections().values()]
        if self.output_projection.is_packed or self.output_projection.weight is not self.embedding:
            projections.append(self.output_projection)
        return sum(tensor.nbytes for tensor in tensors) + sum(projection.num_bytes for projection in projections)

    def _norms(self) -> Iterator[Norm]:
        yield self.final_norm
        if self.embedding_norm is not None:
            yield self.embedding_norm
        for layer in self.layers:
            yield from layer.norms()
