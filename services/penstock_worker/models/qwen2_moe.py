"""Qwen 1.5 and 2 with routed experts, and one that every token goes to."""

from dataclasses import replace

from penstock_worker.models.attention_config import Windows
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import (
    FULL,
    SLIDING,
    DecoderConfig,
    ExpertsConfig,
    read_decoder_config,
    read_windows,
)
from penstock_worker.models.mixtral import read_num_chosen
from penstock_worker.models.tensor_names import ExpertNames, TensorNames

_DEFAULT_WINDOW = 4096
_DEFAULT_NUM_WINDOW_LAYERS = 28


def read_qwen2_moe(file: ConfigFile) -> DecoderConfig:
    """As Qwen 2, but that its window, where switched on, is in every other of the lower layers."""
    shared_size = file.positive_integer("shared_expert_intermediate_size", 5632)
    experts = replace(
        read_qwen_experts(file, default_num_experts=60, default_num_chosen=4, default_size=1408),
        shared_intermediate_size=shared_size,
    )
    return replace(
        read_decoder_config(file, windows=_read_windows(file)),
        has_qkv_bias=file.flag("qkv_bias", default=True),
        experts=experts,
        names=TensorNames(experts=ExpertNames(shared="mlp.shared_expert")),
    )


def read_qwen_experts(
    file: ConfigFile, *, default_num_experts: int, default_num_chosen: int, default_size: int
) -> ExpertsConfig:
    """What the Qwen families with routed experts share."""
    num_layers, step = file.positive_integer("num_hidden_layers"), file.positive_integer("decoder_sparse_step", 1)
    skipped = {index for index in range(num_layers) if (index + 1) % step}
    num_experts = file.positive_integer("num_local_experts", file.positive_integer("num_experts", default_num_experts))
    return ExpertsConfig(
        num_experts=num_experts,
        num_chosen=read_num_chosen(file, num_experts, default_num_chosen),
        intermediate_size=file.positive_integer("moe_intermediate_size", default_size),
        has_normalized_weights=file.flag("norm_topk_prob", default=False),
        dense_layers=frozenset(skipped | set(file.counts("mlp_only_layers"))),
    )


def _read_windows(file: ConfigFile) -> Windows | None:
    window = file.optional_positive_integer("sliding_window", _DEFAULT_WINDOW)
    if window is None or not file.flag("use_sliding_window", default=False):
        return None
    num_layers = file.positive_integer("num_hidden_layers")
    last = file.count("max_window_layers", _DEFAULT_NUM_WINDOW_LAYERS)
    return read_windows(file, window, [FULL if index % 2 or index >= last else SLIDING for index in range(num_layers)])
