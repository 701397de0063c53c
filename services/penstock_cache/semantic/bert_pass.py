"""BERT's forward pass for a few short prompts, where what costs is reading the weights and calling modules."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

_Linear = Callable[[Tensor], Tensor]


class BertPass:
    """The states that a BERT has after its embeddings and after each layer.

    The same arithmetic as in Transformers, in half of the time: matrices are kept in half precision where the processor
    has products of float32 with such (results are float32, sums are too), and a layer is a dozen operations.

    Args:
        model: whose weights are taken; `is_readable` must hold.
    """

    def __init__(self, model: BertModel) -> None:
        self._embeddings = model.embeddings
        self._layers = [_Layer(layer, model.config.num_attention_heads) for layer in model.encoder.layer]

    @staticmethod
    def is_readable(model: nn.Module) -> bool:
        """Whether it is such a model, without what a few of them add."""
        if type(model) is not BertModel:
            return False
        config = model.config
        has_usual_positions = getattr(config, "position_embedding_type", "absolute") == "absolute"
        return config.hidden_act == "gelu" and not config.is_decoder and has_usual_positions

    def __call__(self, ids: Tensor, is_token: Tensor) -> list[Tensor]:
        """[batch, longest, dimension] each, of ids [batch, longest], of which some are padding."""
        mask = None if bool(is_token.all()) else is_token[:, None, None, :]
        states = [self._embeddings(input_ids=ids)]
        for layer in self._layers:
            states.append(layer(states[-1], mask))
        return states


class _Layer:
    """Attention and feed-forward network, each added to what came in and normalised."""

    def __init__(self, layer: Any, num_heads: int) -> None:
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        self._num_heads = num_heads
        self._project = _linear(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
        self._attended = _linear(layer.attention.output.dense.weight, layer.attention.output.dense.bias)
        self._attended_norm = layer.attention.output.LayerNorm
        self._widened = _linear(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self._narrowed = _linear(layer.output.dense.weight, layer.output.dense.bias)
        self._narrowed_norm = layer.output.LayerNorm

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, longest, dimension = x.shape
        projected = self._project(x).view(batch, longest, 3, self._num_heads, dimension // self._num_heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # [batch, heads, longest, head width] each
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self._attended_norm(x + self._attended(attended.transpose(1, 2).reshape(batch, longest, dimension)))
        result: Tensor = self._narrowed_norm(x + self._narrowed(functional.gelu(self._widened(x))))
        return result


def _linear(weight: Tensor, bias: Tensor) -> _Linear:
    """The affine map: by FBGEMM with a matrix in half precision, as it is where that library is not."""
    weight, bias = weight.detach(), bias.detach()
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return partial(functional.linear, weight=weight, bias=bias)
    packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)
    return lambda x: torch.ops.quantized.linear_dynamic_fp16(x, packed)
