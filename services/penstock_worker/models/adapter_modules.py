"""The projections of a decoder that an adapter may change, by transformers' names for them. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock_worker.models.decoder_config import DecoderConfig


@dataclass(frozen=True, slots=True)
class AdaptableModule:
    """A projection of the checkpoint, and where it stands in the fused one that runs.

    Attributes:
        layer: index of its layer.
        projection: name of the fused projection, as in `LayerWeights.projections`.
        first_row: of its rows in the fused projection, before these are reordered.
        out_size, in_size: of its weight.
    """

    layer: int
    projection: str
    first_row: int
    out_size: int
    in_size: int


def adaptable_modules(config: DecoderConfig) -> dict[str, AdaptableModule]:
    """Every projection of every layer but routed experts, by its whole name ("model.layers.0.self_attn.q_proj")."""
    names, found = config.names, {}
    for layer in range(config.num_layers):
        for projection, parts, in_size in _projections(config, layer):
            first_row = 0
            for name, out_size in parts:
                module = AdaptableModule(layer, projection, first_row, out_size, in_size)
                found[f"{names.base}{names.layers}.{layer}.{name}"] = module
                first_row += out_size
    return found


def target_names(config: DecoderConfig) -> list[str]:
    """What `target_modules` may name."""
    return sorted({name.rpartition(".")[2] for name in adaptable_modules(config)})


def _projections(config: DecoderConfig, layer: int) -> Iterator[tuple[str, list[tuple[str, int]], int]]:
    """Fused projections of a layer: name, the checkpoint's names with their sizes, size of the input."""
    names, hidden = config.names, config.hidden_size
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    qkv_sizes = (config.qkv_size,) if len(names.qkv) == 1 else (query, key, key)
    yield "qkv", list(zip(names.qkv, qkv_sizes, strict=True)), hidden
    yield "output", [(names.output, hidden)], query
    experts = config.experts
    if experts is not None and layer not in experts.dense_layers:
        return
    size = config.intermediate_size
    up_size = 2 * size // len(names.up) if config.is_gated else size
    yield "gate_up" if config.is_gated else "up", [(name, up_size) for name in names.up], hidden
    yield "down", [(names.down, hidden)], size
