"""Reads a checkpoint's tensors under the family's names, and fuses them into the weights that run."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch

from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights, LayerWeights
from penstock_worker.models.experts import RoutedExperts
from penstock_worker.models.linear import Linear
from penstock_worker.models.loader import Checkpoint, Shape
from penstock_worker.models.mlp import ACTIVATIONS, Activation, GatedMlp, PlainMlp
from penstock_worker.models.norm import LayerNorm, Norm, RmsNorm
from penstock_worker.models.quantization import OUTPUT_PROJECTION
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint
from penstock_worker.models.rounded_weight import Grid, stacked


class TensorSource(Protocol):
    """Where a `WeightReader` has its tensors from."""

    @property
    def names(self) -> Iterable[str]:
        """Of all tensors there are."""
        ...

    def read(self, name: str, shape: Shape) -> torch.Tensor:
        """The tensor `name`, of `shape`."""
        ...

    def grid(self, name: str) -> Grid | None:
        """The numbers that the weight `name` is made of, where it is stored rounded."""
        ...


def check_tensors(checkpoint: Checkpoint | RoundedCheckpoint, config: DecoderConfig) -> int:
    """Compares the tensors of a checkpoint with those that its configuration implies.

    Returns:
        The number of parameters, tied ones counted once.

    Raises:
        InvalidArgumentError: names the tensors that are missing, unexpected or of another shape.
    """
    expected = _ShapeRecorder(checkpoint.names)
    WeightReader(expected, config, dtype=torch.float32, device=torch.device("meta")).read()
    suffixes, prefixes = config.names.ignored_suffixes, config.names.ignored_prefixes
    ignored = {name for name in checkpoint.names if name.endswith(suffixes) or name.startswith(prefixes)}
    if config.has_tied_embeddings:
        ignored.add(f"{config.names.output_projection}.weight")
    checkpoint.check_shapes(expected.shapes, frozenset(ignored - expected.shapes.keys()))
    return sum(map(math.prod, expected.shapes.values()))


class _ShapeRecorder:
    """A source without numbers: keeps the shapes that are asked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names
        self.shapes: dict[str, Shape] = {}

    def read(self, name: str, shape: Shape) -> torch.Tensor:
        """An empty tensor of that shape."""
        self.shapes[name] = shape
        return torch.empty(shape, device="meta")

    def grid(self, name: str) -> None:
        """None: there are no numbers."""


class WeightReader:
    """Reads and fuses the weights of one checkpoint.

    Queries and keys are stored with the two halves of each head interleaved. The rotary position then is a complex
    product of neighbours, one operation in place of five, and no dot product of a query and a key changes.

    Args:
        source: its shapes have been compared, see `check_tensors`.
        config: what they were compared for.
        dtype: of the result; wider than what is stored is exact.
        device: of the result.
        pack: takes each projection with its name as soon as it is read, so that little is held plain and packed at
            once; None leaves all plain.
        activations: what computes each activation.
    """

    def __init__(
        self,
        source: TensorSource,
        config: DecoderConfig,
        *,
        dtype: torch.dtype,
        device: torch.device,
        pack: Callable[[str, Linear], None] | None = None,
        activations: Mapping[str, Activation] = ACTIVATIONS,
    ) -> None:
        self._source = source
        self._config = config
        self._names = config.names
        self._base = config.names.base if any(name.startswith(config.names.base) for name in source.names) else ""
        self._dtype = dtype
        self._device = device
        self._pack = pack
        self._activation = activations[config.activation]
        self._qkv_order = qkv_order(config).to(device)

    def read(self) -> DecoderWeights:
        """All of them, in memory of their own."""
        config, names = self._config, self._names
        embedding = self._tensor(f"{self._base}{names.embedding}.weight", config.vocab_size, config.hidden_size)
        return DecoderWeights(
            embedding=embedding,
            positions=self._positions(),
            embedding_norm=self._norm(self._base, names.embedding_norm),
            layers=tuple(self._packed_layer(index) for index in range(config.num_layers)),
            final_norm=self._required_norm(self._base, names.final_norm),
            output_projection=self._output_projection(embedding),
        )

    def _positions(self) -> torch.Tensor | None:
        if self._names.positions is None:
            return None
        name = f"{self._base}{self._names.positions}.weight"
        return self._tensor(name, self._config.context_length, self._config.hidden_size)

    def _output_projection(self, embedding: torch.Tensor) -> Linear:
        name, config = f"{self._names.output_projection}.weight", self._config
        if config.has_tied_embeddings:
            projection = Linear(embedding, None)
        else:
            grid = self._grid([name])
            projection = Linear(self._tensor(name, config.vocab_size, config.hidden_size), None, grid)
        if self._pack is not None:
            self._pack(OUTPUT_PROJECTION, projection)
        return projection

    def _packed_layer(self, index: int) -> LayerWeights:
        layer = self._layer(index)
        if self._pack is not None:
            for name, projection in layer.projections().items():
                self._pack(name, projection)
        return layer

    def _layer(self, index: int) -> LayerWeights:
        config, names = self._config, self._names
        prefix = f"{self._base}{names.layers}.{index}."
        attended_size = config.num_heads * config.head_dim
        return LayerWeights(
            input_norm=self._required_norm(prefix, names.input_norm),
            qkv=self._qkv(prefix),
            qk_norm=self._qk_norm(prefix),
            output=self._linear(
                prefix, (names.output,), (config.hidden_size,), attended_size, has_bias=config.has_output_bias
            ),
            attention_post_norm=self._norm(prefix, names.attention_post_norm),
            mlp_norm=self._norm(prefix, names.mlp_norm),
            mlp=self._experts(prefix) if self._has_experts(index) else self._dense_mlp(prefix),
            mlp_post_norm=self._norm(prefix, names.mlp_post_norm),
        )

    def _qkv(self, prefix: str) -> Linear:
        config, names = self._config, self._names
        query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        sizes = (config.qkv_size,) if len(names.qkv) == 1 else (query, key, key)
        linear = self._linear(prefix, names.qkv, sizes, config.hidden_size, has_bias=config.has_qkv_bias)
        weight, bias = (
            None if tensor is None else tensor.index_select(0, self._qkv_order)
            for tensor in (linear.weight, linear.bias)
        )
        assert weight is not None
        return Linear(weight, bias, None if linear.grid is None else linear.grid.select(self._qkv_order))

    def _qk_norm(self, prefix: str) -> RmsNorm | None:
        if self._names.qk_norms is None:
            return None
        config = self._config
        order = _head_order(config.head_dim, config.rotary_dim).to(self._device)
        weights = []
        for name, num_heads in zip(self._names.qk_norms, (config.num_heads, config.num_kv_heads), strict=True):
            weight = self._norm_weight(f"{prefix}{name}.weight", config.head_dim)
            weights.append(weight.index_select(0, order).expand(num_heads, -1))
        return RmsNorm(torch.cat(weights), self._eps())

    def _has_experts(self, index: int) -> bool:
        experts = self._config.experts
        return experts is not None and index not in experts.dense_layers

    def _dense_mlp(self, prefix: str) -> GatedMlp | PlainMlp:
        config, names = self._config, self._names
        if config.is_gated:
            return self._gated_mlp(prefix, names.up, names.down, config.intermediate_size)
        size, hidden = config.intermediate_size, config.hidden_size
        return PlainMlp(
            self._linear(prefix, names.up, (size,), hidden, has_bias=config.has_mlp_bias),
            self._linear(prefix, (names.down,), (hidden,), size, has_bias=config.has_mlp_bias),
            self._activation,
        )

    def _gated_mlp(self, prefix: str, up: tuple[str, ...], down: str, size: int) -> GatedMlp:
        config = self._config
        sizes = (2 * size // len(up),) * len(up)
        return GatedMlp(
            self._linear(prefix, up, sizes, config.hidden_size, has_bias=config.has_mlp_bias),
            self._linear(prefix, (down,), (config.hidden_size,), size, has_bias=config.has_mlp_bias),
            self._activation,
        )

    def _experts(self, prefix: str) -> RoutedExperts:
        config, names = self._config.experts, self._names.experts
        assert config is not None
        assert names is not None
        hidden = self._config.hidden_size
        shared = gate = None
        if names.shared is not None and config.shared_intermediate_size is not None:
            gate = self._linear(prefix, (names.shared_gate,), (1,), hidden)
            shared = self._gated_mlp(f"{prefix}{names.shared}.", names.up, names.down, config.shared_intermediate_size)
        return RoutedExperts(
            router=self._linear(prefix, (names.router,), (config.num_experts,), hidden),
            experts=tuple(
                self._gated_mlp(f"{prefix}{names.experts}.{index}.", names.up, names.down, config.intermediate_size)
                for index in range(config.num_experts)
            ),
            num_chosen=config.num_chosen,
            has_normalized_weights=config.has_normalized_weights,
            shared=shared,
            shared_gate=gate,
        )

    def _required_norm(self, prefix: str, name: str) -> Norm:
        norm = self._norm(prefix, name)
        assert norm is not None
        return norm

    def _norm(self, prefix: str, name: str | None) -> Norm | None:
        if name is None:
            return None
        config, size = self._config.norm, self._config.hidden_size
        weight = self._norm_weight(f"{prefix}{name}.weight", size)
        if config.is_rms:
            return RmsNorm(weight, self._eps())
        return LayerNorm(weight, self._tensor(f"{prefix}{name}.bias", size) if config.has_bias else None, config.eps)

    def _norm_weight(self, name: str, size: int) -> torch.Tensor:
        if self._config.norm.has_unit_offset:  # in float32, where one plus a small number is still exact
            return self._source.read(name, (size,)).to(self._device, torch.float32) + 1
        return self._tensor(name, size)

    def _eps(self) -> torch.Tensor:
        return torch.tensor(self._config.norm.eps, device=self._device)

    def _linear(
        self, prefix: str, names: tuple[str, ...], out_sizes: tuple[int, ...], in_size: int, *, has_bias: bool = False
    ) -> Linear:
        """The projections `names` of one input, of `out_sizes`, fused into one."""
        stems = [f"{prefix}{name}" for name in names]
        weights = [self._weight(f"{stem}.weight", size, in_size) for stem, size in zip(stems, out_sizes, strict=True)]
        bias = None
        if has_bias:
            biases = [self._source.read(f"{stem}.bias", (size,)) for stem, size in zip(stems, out_sizes, strict=True)]
            bias = self._fused(biases)
        return Linear(self._fused(weights), bias, self._grid([f"{stem}.weight" for stem in stems]))

    def _grid(self, names: list[str]) -> Grid | None:
        """The common grid of weights that are fused into one; for kernels of a CPU."""
        return stacked([self._source.grid(name) for name in names]) if self._device.type == "cpu" else None

    def _weight(self, name: str, out_size: int, in_size: int) -> torch.Tensor:
        """A weight as stored, [out_size, in_size]."""
        if self._names.is_transposed:
            return self._source.read(name, (in_size, out_size)).t()
        return self._source.read(name, (out_size, in_size))

    def _fused(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensor.to(self._dtype) for tensor in tensors]).to(self._device).contiguous()

    def _tensor(self, name: str, *shape: int) -> torch.Tensor:
        return self._source.read(name, shape).to(self._device, self._dtype, copy=True)


def qkv_order(config: DecoderConfig) -> torch.Tensor:
    """Which stored row each row of the fused projection is: int64 [qkv_size]."""
    rows = torch.arange(config.qkv_size)
    if config.names.is_qkv_grouped:
        groups = rows.view(config.num_kv_heads, -1, config.head_dim)
        queries, keys, values = groups[:, :-2], groups[:, -2], groups[:, -1]
        rows = torch.cat([queries.flatten(), keys.flatten(), values.flatten()])
    num_rotated = (config.num_heads + config.num_kv_heads) * config.head_dim
    rotated = rows[:num_rotated].view(-1, config.head_dim)
    order = _head_order(config.head_dim, config.rotary_dim)
    return torch.cat([rotated[:, order].flatten(), rows[num_rotated:]])


def _head_order(head_dim: int, rotary_dim: int) -> torch.Tensor:
    """The dimensions of a head, those that turn from two halves, (a0 a1 .. b0 b1 ..), to pairs, (a0 b0 a1 b1 ..)."""
    pairs = torch.arange(rotary_dim).view(2, -1).t().flatten()
    return torch.cat([pairs, torch.arange(rotary_dim, head_dim)])
