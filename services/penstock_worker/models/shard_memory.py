"""How much memory a shard's weights take, from the configuration alone. Needs no torch: the fleet asks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from penstock_worker.models.cut import Cut, whole
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.quantization import OUTPUT_PROJECTION, Quantization
from penstock_worker.models.shard import Shard
from penstock_worker.models.shard_layout import ShardLayout, shard_config, shard_layout

_SCALE_BYTES = 4
_FLOAT32_BYTES = 4
# The kernel for 4 bits keeps a scale and an offset in bfloat16 for each group, and a multiple of so many outputs.
_GROUP_BYTES = 4
_ROWS_MULTIPLE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """In what the numbers of a model lie in memory.

    Attributes:
        number_bytes: of a number of embeddings and norms.
        projection_bytes: of a weight that is not rounded. A CPU that does not multiply bfloat16 has them in float32.
        quantization: what projections are rounded to.
        has_packed_head: an output projection that is tied to the embedding has its weights once more, as on a CPU.
    """

    number_bytes: int
    projection_bytes: int
    quantization: Quantization | None = None
    has_packed_head: bool = True


@dataclass(frozen=True, slots=True)
class _Projection:
    """One of a shard's, or `count` alike: kind, outputs here, what it has of its inputs, whether it has a bias here."""

    kind: str
    num_outputs: int
    inputs: Cut
    has_bias: bool = False
    is_rounded: bool = True
    count: int = 1


def weight_bytes(config: DecoderConfig, shard: Shard, precision: Precision) -> int:
    """Memory of the weights of `shard`; of a checkpoint that stores rounded weights, as if it did not.

    Args:
        config: of the whole model.
        shard: which part of it.
        precision: of its numbers.

    Raises:
        InvalidArgumentError: the model cannot be cut like that.
    """
    layout = shard_layout(config, shard)
    own = shard_config(config, layout)
    norm_bytes = _FLOAT32_BYTES if own.norm.has_unit_offset else precision.number_bytes
    total = _num_norm_numbers(own, shard) * norm_bytes + _num_table_numbers(own, layout, shard) * precision.number_bytes
    num_dense = own.num_layers if own.experts is None else len(own.experts.dense_layers)
    numbers_of_layers = ((num_dense, False), (own.num_layers - num_dense, True))
    projections = [
        replace(projection, count=projection.count * num_layers)
        for num_layers, has_experts in numbers_of_layers
        if num_layers
        for projection in _projections(own, layout, shard, has_experts=has_experts)
    ]
    if shard.is_last_stage and (precision.has_packed_head or not own.has_tied_embeddings or not shard.is_first_stage):
        projections.append(_Projection(OUTPUT_PROJECTION, layout.vocabulary.length, whole(own.hidden_size)))
    return total + sum(each.count * _projection_bytes(each, precision) for each in projections)


def _num_table_numbers(own: DecoderConfig, layout: ShardLayout, shard: Shard) -> int:
    """Of embedding and learned positions."""
    if not shard.is_first_stage:
        return 0
    num_positions = 0 if own.names.positions is None else own.context_length
    return (layout.vocabulary.length + num_positions) * own.hidden_size


def _num_norm_numbers(own: DecoderConfig, shard: Shard) -> int:
    names = own.names
    of_layer = (names.input_norm, names.attention_post_norm, names.mlp_norm, names.mlp_post_norm)
    num_norms = own.num_layers * sum(name is not None for name in of_layer)
    num_norms += shard.is_first_stage and names.embedding_norm is not None
    num_norms += shard.is_last_stage
    per_norm = own.hidden_size * (2 if own.norm.has_bias and not own.norm.is_rms else 1)
    of_heads = 0 if names.qk_norms is None else (own.num_heads + own.num_kv_heads) * own.head_dim
    return num_norms * per_norm + own.num_layers * of_heads


def _projections(own: DecoderConfig, layout: ShardLayout, shard: Shard, *, has_experts: bool) -> Iterator[_Projection]:
    """Of one layer."""
    hidden, is_first = whole(own.hidden_size), shard.tp_rank == 0
    yield _Projection("qkv", own.qkv_size, hidden, own.has_qkv_bias)
    yield _Projection("output", own.hidden_size, layout.queries, own.has_output_bias and is_first)
    experts = own.experts
    if experts is None or not has_experts:
        yield from _mlp(own, layout.intermediate, shard)
        return
    yield _Projection("router", experts.num_experts, hidden, is_rounded=False)
    for projection in _mlp(own, layout.expert, shard):
        yield replace(projection, count=experts.num_experts)
    if experts.shared_intermediate_size is not None:
        yield _Projection("shared_gate", 1, hidden, is_rounded=False)
        yield from _mlp(own, layout.shared_expert, shard)


def _mlp(own: DecoderConfig, width: Cut, shard: Shard) -> Iterator[_Projection]:
    up = ("gate_up", 2 * width.length) if own.is_gated else ("up", width.length)
    yield _Projection(*up, whole(own.hidden_size), own.has_mlp_bias)
    yield _Projection("down", own.hidden_size, width, own.has_mlp_bias and shard.tp_rank == 0)


def _projection_bytes(projection: _Projection, precision: Precision) -> int:
    """As the kernels of `packing` count them."""
    num_outputs, num_inputs, quantization = projection.num_outputs, projection.inputs.length, precision.quantization
    if quantization is None or not projection.is_rounded:
        return num_outputs * (num_inputs + projection.has_bias) * precision.projection_bytes
    bias_bytes = num_outputs * projection.has_bias * precision.number_bytes
    group_size = quantization.group_size
    if quantization.bits_of(projection.kind) == 4 and projection.inputs.grain % group_size == 0:  # noqa: PLR2004
        num_padded = -(-num_outputs // _ROWS_MULTIPLE) * _ROWS_MULTIPLE
        return num_padded * (num_inputs // 2 + num_inputs // group_size * _GROUP_BYTES) + bias_bytes
    return num_outputs * (num_inputs + _SCALE_BYTES) + bias_bytes
