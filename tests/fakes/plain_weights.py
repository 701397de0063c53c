"""What a reader made of a checkpoint, as a list, for comparisons."""

from collections.abc import Iterator

import torch

from penstock_worker.models.decoder_weights import DecoderWeights
from penstock_worker.models.linear import Linear


def plain_tensors(weights: DecoderWeights) -> Iterator[torch.Tensor]:
    """Every tensor once; of weights that nothing has packed."""
    yield from (table for table in (weights.embedding, weights.positions) if table is not None)
    output = weights.output_projection
    if output is not None and output.weight is not weights.embedding:
        yield from _parameters(output)
    norms = [norm for norm in (weights.embedding_norm, weights.final_norm) if norm is not None]
    for layer in weights.layers:
        norms += layer.norms()
        for projection in layer.projections().values():
            yield from _parameters(projection)
    for norm in norms:
        yield from norm.parameters


def _parameters(linear: Linear) -> Iterator[torch.Tensor]:
    yield linear.weight
    if linear.bias is not None:
        yield linear.bias
