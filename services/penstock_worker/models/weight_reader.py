"""Reads a checkpoint's tensors under the family's names, and fuses them into the weights that run."""

from collections.abc import Callable, Mapping

import torch

from penstock_worker.models.cut import Cut, Cuts, joined, whole
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights, LayerWeights
from penstock_worker.models.experts import RoutedExperts
from penstock_worker.models.head_order import head_order, qkv_order
from penstock_worker.models.linear import Linear, SharedInputs
from penstock_worker.models.mlp import ACTIVATIONS, Activation, GatedMlp, PlainMlp
from penstock_worker.models.norm import LayerNorm, Norm, RmsNorm
from penstock_worker.models.quantization import OUTPUT_PROJECTION
from penstock_worker.models.rounded_weight import Grid, stacked
from penstock_worker.models.shard import WHOLE, Shard
from penstock_worker.models.shard_layout import shard_config, shard_layout
from penstock_worker.models.tensor_group import ALONE, TensorGroup
from penstock_worker.models.tensor_names import ExpertNames
from penstock_worker.models.tensor_source import TensorSource


class WeightReader:
    """Reads and fuses the weights of one checkpoint, or what a shard holds of them.

    Queries and keys stand in another order than in the checkpoint, see `head_order`.

    Args:
        source: its shapes have been compared, see `check_tensors`.
        config: what they were compared for, of the whole model.
        dtype: of the result; wider than what is stored is exact.
        device: of the result.
        pack: takes each projection with its name as soon as it is read, so that little is held plain and packed at
            once; None leaves all plain.
        activations: what computes each activation.
        shard: what is read.
        group: of the shard's stage.
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
        shard: Shard = WHOLE,
        group: TensorGroup = ALONE,
    ) -> None:
        assert (group.rank, group.size) == (shard.tp_rank, shard.tp_size)
        self._source = source
        self._shard = shard
        self._group = group
        self._layout = shard_layout(config, shard)
        self._config = shard_config(config, self._layout)
        self._hidden = whole(config.hidden_size)
        self._names = config.names
        self._base = config.names.base if any(name.startswith(config.names.base) for name in source.names) else ""
        self._dtype = dtype
        self._device = device
        self._pack = pack
        self._activation = activations[config.activation]
        self._qkv_order = qkv_order(self._config).to(device)

    def read(self) -> DecoderWeights:
        """All of them, in memory of their own."""
        names, shard = self._names, self._shard
        embedding, output_projection = self._ends()
        return DecoderWeights(
            dtype=self._dtype,
            device=self._device,
            first_token_id=self._layout.vocabulary.runs[0][0],
            embedding=embedding,
            positions=self._positions() if shard.is_first_stage else None,
            embedding_norm=self._norm(self._base, names.embedding_norm) if shard.is_first_stage else None,
            layers=tuple(self._layer(index) for index in self._layout.layers),
            final_norm=self._norm(self._base, names.final_norm) if shard.is_last_stage else None,
            output_projection=output_projection,
        )

    def _ends(self) -> tuple[torch.Tensor | None, Linear | None]:
        """Embedding and output projection. Before the layers: they are the largest, plain and packed at once."""
        shard, is_tied = self._shard, self._config.has_tied_embeddings
        embedding = None
        if shard.is_first_stage or (shard.is_last_stage and is_tied):
            embedding = self._vocabulary(f"{self._base}{self._names.embedding}.weight")
        projection = self._output_projection(embedding) if shard.is_last_stage else None
        return (embedding if shard.is_first_stage else None), projection

    def _positions(self) -> torch.Tensor | None:
        if self._names.positions is None:
            return None
        name = f"{self._base}{self._names.positions}.weight"
        return self._tensor(name, whole(self._config.context_length), self._hidden)

    def _output_projection(self, embedding: torch.Tensor | None) -> Linear:
        if self._config.has_tied_embeddings:
            assert embedding is not None
            projection = Linear(embedding, None)
        else:
            name = f"{self._names.output_projection}.weight"
            projection = Linear(self._vocabulary(name), None, self._grid([(name, self._vocabulary_cuts)]))
        return self._packed(OUTPUT_PROJECTION, projection)

    def _vocabulary(self, name: str) -> torch.Tensor:
        return self._tensor(name, *self._vocabulary_cuts)

    @property
    def _vocabulary_cuts(self) -> Cuts:
        return self._layout.vocabulary, self._hidden

    def _packed(self, name: str, projection: Linear) -> Linear:
        if self._pack is not None:
            self._pack(name, projection)
        return projection

    def _layer(self, index: int) -> LayerWeights:
        names = self._names
        prefix = f"{self._base}{names.layers}.{index}."
        return LayerWeights(
            input_norm=self._required_norm(prefix, names.input_norm),
            qkv=self._packed("qkv", self._qkv(prefix)),
            qk_norm=self._qk_norm(prefix),
            output=self._packed("output", self._output(prefix)),
            attention_post_norm=self._norm(prefix, names.attention_post_norm),
            mlp_norm=self._norm(prefix, names.mlp_norm),
            mlp=self._experts(prefix) if self._has_experts(index) else self._dense_mlp(prefix),
            mlp_post_norm=self._norm(prefix, names.mlp_post_norm),
        )

    def _qkv(self, prefix: str) -> Linear:
        layout, names = self._layout, self._names
        cuts = (layout.qkv,) if len(names.qkv) == 1 else (layout.queries, layout.keys, layout.keys)
        linear = self._linear(prefix, names.qkv, cuts, has_bias=self._config.has_qkv_bias)
        weight, bias = (
            None if tensor is None else tensor.index_select(0, self._qkv_order)
            for tensor in (linear.weight, linear.bias)
        )
        assert weight is not None
        return Linear(weight, bias, None if linear.grid is None else linear.grid.select(self._qkv_order))

    def _output(self, prefix: str) -> Linear:
        stem = f"{prefix}{self._names.output}"
        return self._row_parallel(stem, self._layout.queries, has_bias=self._config.has_output_bias)

    def _qk_norm(self, prefix: str) -> RmsNorm | None:
        if self._names.qk_norms is None:
            return None
        config = self._config
        order = head_order(config.head_dim, config.rotary_dim).to(self._device)
        weights = []
        for name, num_heads in zip(self._names.qk_norms, (config.num_heads, config.num_kv_heads), strict=True):
            weight = self._norm_weight(f"{prefix}{name}.weight", whole(config.head_dim))
            weights.append(weight.index_select(0, order).expand(num_heads, -1))
        return RmsNorm(torch.cat(weights), self._eps())

    def _has_experts(self, index: int) -> bool:
        experts = self._config.experts
        return experts is not None and index - self._layout.layers.start not in experts.dense_layers

    def _dense_mlp(self, prefix: str) -> GatedMlp | PlainMlp:
        config, names, width = self._config, self._names, self._layout.intermediate
        if config.is_gated:
            return self._gated_mlp(prefix, names.up, names.down, width)
        return PlainMlp(
            self._packed("up", self._linear(prefix, names.up, (width,), has_bias=config.has_mlp_bias)),
            self._packed("down", self._row_parallel(f"{prefix}{names.down}", width, has_bias=config.has_mlp_bias)),
            self._activation,
        )

    def _gated_mlp(self, prefix: str, up: tuple[str, ...], down: str, width: Cut, name: str = "") -> GatedMlp:
        """`name` goes before the names of its projections."""
        has_bias = self._config.has_mlp_bias
        cuts = (joined((width, width)),) if len(up) == 1 else (width, width)
        return GatedMlp(
            self._packed(f"{name}gate_up", self._linear(prefix, up, cuts, has_bias=has_bias)),
            self._packed(f"{name}down", self._row_parallel(f"{prefix}{down}", width, has_bias=has_bias)),
            self._activation,
        )

    def _experts(self, prefix: str) -> RoutedExperts:
        config, names, layout = self._config.experts, self._names.experts, self._layout
        assert config is not None
        assert names is not None
        shared = gate = None
        if names.shared is not None and config.shared_intermediate_size is not None:
            gate = self._packed("shared_gate", self._linear(prefix, (names.shared_gate,), (whole(1),)))
            shared_prefix = f"{prefix}{names.shared}."
            shared = self._gated_mlp(shared_prefix, names.up, names.down, layout.shared_expert, "shared.")
        return RoutedExperts(
            router=self._packed("router", self._linear(prefix, (names.router,), (whole(config.num_experts),))),
            experts=tuple(self._expert(prefix, names, index) for index in range(config.num_experts)),
            num_chosen=config.num_chosen,
            has_normalized_weights=config.has_normalized_weights,
            shared=shared,
            shared_gate=gate,
        )

    def _expert(self, prefix: str, names: ExpertNames, index: int) -> GatedMlp:
        own_prefix = f"{prefix}{names.experts}.{index}."
        return self._gated_mlp(own_prefix, names.up, names.down, self._layout.expert, f"experts.{index}.")

    def _required_norm(self, prefix: str, name: str) -> Norm:
        norm = self._norm(prefix, name)
        assert norm is not None
        return norm

    def _norm(self, prefix: str, name: str | None) -> Norm | None:
        if name is None:
            return None
        config = self._config.norm
        weight = self._norm_weight(f"{prefix}{name}.weight", self._hidden)
        if config.is_rms:
            return RmsNorm(weight, self._eps())
        bias = self._tensor(f"{prefix}{name}.bias", self._hidden) if config.has_bias else None
        return LayerNorm(weight, bias, config.eps)

    def _norm_weight(self, name: str, size: Cut) -> torch.Tensor:
        if self._config.norm.has_unit_offset:  # in float32, where one plus a small number is still exact
            return self._source.read(name, (size,)).to(self._device, torch.float32) + 1
        return self._tensor(name, size)

    def _eps(self) -> torch.Tensor:
        return torch.tensor(self._config.norm.eps, device=self._device)

    def _linear(self, prefix: str, names: tuple[str, ...], outputs: Cuts, *, has_bias: bool = False) -> Linear:
        """The projections `names` of the hidden states, of `outputs`, fused into one."""
        stems = [(f"{prefix}{name}", cut) for name, cut in zip(names, outputs, strict=True)]
        parts: list[tuple[str, Cuts]] = [(f"{stem}.weight", (cut, self._hidden)) for stem, cut in stems]
        bias = None
        if has_bias:
            bias = self._fused([self._source.read(f"{stem}.bias", (cut,)) for stem, cut in stems])
        return Linear(self._fused([self._weight(name, cuts) for name, cuts in parts]), bias, self._grid(parts))

    def _row_parallel(self, stem: str, inputs: Cut, *, has_bias: bool) -> Linear:
        """A projection to hidden states, which are the sum of what the shards make of their inputs."""
        part: tuple[str, Cuts] = (f"{stem}.weight", (self._hidden, inputs))
        bias = None
        if has_bias and self._group.rank == 0:
            bias = self._fused([self._source.read(f"{stem}.bias", (self._hidden,))])
        shared = None if inputs.is_whole else SharedInputs(inputs, self._group)
        return Linear(self._fused([self._weight(*part)]), bias, self._grid([part]), shared)

    def _grid(self, parts: list[tuple[str, Cuts]]) -> Grid | None:
        """The common grid of parts of weights that are fused into one; for kernels of a CPU."""
        return stacked([self._source.grid(*part) for part in parts]) if self._device.type == "cpu" else None

    def _weight(self, name: str, cuts: Cuts) -> torch.Tensor:
        """A part of a weight, [out, in]."""
        if self._names.is_transposed:
            return self._source.read(name, cuts[::-1]).t()
        return self._source.read(name, cuts)

    def _fused(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        lengths = [len(tensor) for tensor in tensors]
        fused = torch.empty((sum(lengths), *tensors[0].shape[1:]), dtype=self._dtype, device=self._device)
        for place, tensor in zip(torch.split(fused, lengths), tensors, strict=True):
            place.copy_(tensor)
        return fused

    def _tensor(self, name: str, *cuts: Cut) -> torch.Tensor:
        return self._source.read(name, cuts).to(self._device, self._dtype, copy=True)
