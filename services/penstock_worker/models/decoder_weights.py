"""The decoder's weights: which tensors a checkpoint must have, and how they are fused into the ones that run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.linear import Linear
from penstock_worker.models.loader import Checkpoint, Shape

_EMBEDDING = "model.embed_tokens.weight"
_FINAL_NORM = "model.norm.weight"
_OUTPUT_PROJECTION = "lm_head.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One decoder layer.

    Attributes:
        input_norm: [hidden].
        qkv: fused queries, keys, values, [hidden] to [(heads + 2 kv_heads) * head_dim].
        qk_norm: [heads + kv_heads, head_dim], or None.
        output: [heads * head_dim] to [hidden].
        mlp_norm: [hidden].
        gate_up: fused gate and up, [hidden] to [2 * intermediate].
        down: [intermediate] to [hidden].
    """

    input_norm: torch.Tensor
    qkv: Linear
    qk_norm: torch.Tensor | None
    output: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderWeights:
    """All weights of a decoder.

    Attributes:
        embedding: [vocab, hidden].
        layers: from the lowest.
        final_norm: [hidden].
        output_projection: [hidden] to [vocab]; its weight is the embedding where they are tied.
    """

    embedding: torch.Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: torch.Tensor
    output_projection: Linear

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all tensors."""
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.embedding.device

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor once."""
        yield self.embedding
        yield self.final_norm
        if self.output_projection.weight is not self.embedding:
            yield self.output_projection.weight
        for layer in self.layers:
            yield from _layer_tensors(layer)


def _layer_tensors(layer: LayerWeights) -> Iterator[torch.Tensor]:
    linears = (layer.qkv, layer.output, layer.gate_up, layer.down)
    candidates = [layer.input_norm, layer.mlp_norm, layer.qk_norm]
    for linear in linears:
        candidates += [linear.weight, linear.bias]
    return (tensor for tensor in candidates if tensor is not None)


def expected_shapes(config: DecoderConfig) -> dict[str, Shape]:
    """Shape of each tensor of a checkpoint of this configuration, under the names that transformers gives them."""
    shapes: dict[str, Shape] = {_EMBEDDING: (config.vocab_size, config.hidden_size), _FINAL_NORM: (config.hidden_size,)}
    if not config.has_tied_embeddings:
        shapes[_OUTPUT_PROJECTION] = (config.vocab_size, config.hidden_size)
    for index in range(config.num_layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in _layer_shapes(config).items()}
    return shapes


def ignored_names(config: DecoderConfig) -> frozenset[str]:
    """Tensors that some checkpoints carry although they follow from others."""
    frequencies = {f"model.layers.{index}.self_attn.rotary_emb.inv_freq" for index in range(config.num_layers)}
    return frozenset(frequencies | {_OUTPUT_PROJECTION} if config.has_tied_embeddings else frequencies)


def _layer_shapes(config: DecoderConfig) -> dict[str, Shape]:
    hidden, intermediate = config.hidden_size, config.intermediate_size
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    shapes: dict[str, Shape] = {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
    if config.has_qk_norm:
        shapes |= {"self_attn.q_norm.weight": (config.head_dim,), "self_attn.k_norm.weight": (config.head_dim,)}
    for name, out_size, in_size, has_bias in (
        ("self_attn.q_proj", query, hidden, config.has_qkv_bias),
        ("self_attn.k_proj", key, hidden, config.has_qkv_bias),
        ("self_attn.v_proj", key, hidden, config.has_qkv_bias),
        ("self_attn.o_proj", hidden, query, config.has_output_bias),
        ("mlp.gate_proj", intermediate, hidden, config.has_mlp_bias),
        ("mlp.up_proj", intermediate, hidden, config.has_mlp_bias),
        ("mlp.down_proj", hidden, intermediate, config.has_mlp_bias),
    ):
        shapes[f"{name}.weight"] = (out_size, in_size)
        if has_bias:
            shapes[f"{name}.bias"] = (out_size,)
    return shapes


class WeightReader:
    """Reads and fuses the weights of one checkpoint.

    Queries and keys are stored with the two halves of each head interleaved. The rotary position then is a complex
    product of neighbours, one operation in place of five, and no dot product of a query and a key changes.

    Args:
        checkpoint: its shapes have been compared with `expected_shapes`.
        config: what they were compared for.
        dtype: of the result; wider than what is stored is exact.
        device: of the result.
    """

    def __init__(
        self, checkpoint: Checkpoint, config: DecoderConfig, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self._dtype = dtype
        self._device = device

    def read(self) -> DecoderWeights:
        """All of them, in memory of their own."""
        embedding = self._tensor(_EMBEDDING)
        is_tied = self._config.has_tied_embeddings
        return DecoderWeights(
            embedding=embedding,
            layers=tuple(self._layer(f"model.layers.{index}.") for index in range(self._config.num_layers)),
            final_norm=self._tensor(_FINAL_NORM),
            output_projection=Linear(embedding if is_tied else self._tensor(_OUTPUT_PROJECTION), None),
        )

    def _layer(self, prefix: str) -> LayerWeights:
        config = self._config
        attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
        return LayerWeights(
            input_norm=self._tensor(f"{prefix}input_layernorm.weight"),
            qkv=self._qkv(attention),
            qk_norm=self._qk_norm(attention) if config.has_qk_norm else None,
            output=self._linear([f"{attention}o_proj"], has_bias=config.has_output_bias),
            mlp_norm=self._tensor(f"{prefix}post_attention_layernorm.weight"),
            gate_up=self._linear([f"{mlp}gate_proj", f"{mlp}up_proj"], has_bias=config.has_mlp_bias),
            down=self._linear([f"{mlp}down_proj"], has_bias=config.has_mlp_bias),
        )

    def _qkv(self, attention: str) -> Linear:
        names = [f"{attention}{kind}_proj" for kind in "qkv"]
        linear = self._linear(names, has_bias=self._config.has_qkv_bias)
        num_rotated = (self._config.num_heads + self._config.num_kv_heads) * self._config.head_dim
        for tensor in (linear.weight, linear.bias):
            if tensor is not None:
                rotated = tensor[:num_rotated].view(-1, self._config.head_dim, *tensor.shape[1:])
                rotated.copy_(_interleaved(rotated, dim=1))
        return linear

    def _qk_norm(self, attention: str) -> torch.Tensor:
        norms = [self._tensor(f"{attention}{kind}_norm.weight") for kind in "qk"]
        num_heads = [self._config.num_heads, self._config.num_kv_heads]
        per_head = [_interleaved(norm, dim=0).expand(count, -1) for norm, count in zip(norms, num_heads, strict=True)]
        return torch.cat(per_head)

    def _linear(self, names: list[str], *, has_bias: bool) -> Linear:
        """The projections `names` of one input, fused into one."""
        weight = self._fused([f"{name}.weight" for name in names])
        return Linear(weight, self._fused([f"{name}.bias" for name in names]) if has_bias else None)

    def _fused(self, names: list[str]) -> torch.Tensor:
        return torch.cat([self._checkpoint.read(name).to(self._dtype) for name in names]).to(self._device)

    def _tensor(self, name: str) -> torch.Tensor:
        return self._checkpoint.read(name).to(self._device, self._dtype, copy=True)


def _interleaved(tensor: torch.Tensor, *, dim: int) -> torch.Tensor:
    """Reorders `dim` from two halves, (a0 a1 .. b0 b1 ..), to pairs, (a0 b0 a1 b1 ..)."""
    half = tensor.shape[dim] // 2
    order = torch.arange(2 * half, device=tensor.device).view(2, half).t().flatten()
    return tensor.index_select(dim, order)
