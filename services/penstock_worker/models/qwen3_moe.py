"""Qwen 3 with routed experts."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config
from penstock_worker.models.qwen2_moe import read_qwen_experts
from penstock_worker.models.qwen3 import QK_NORMS
from penstock_worker.models.tensor_names import ExpertNames, TensorNames


def read_qwen3_moe(file: ConfigFile) -> DecoderConfig:
    """A head's width follows from the hidden size where `head_dim` is absent; a window is in all layers or in none."""
    window = file.positive_integer("sliding_window", 4096) if file.flag("use_sliding_window", default=False) else None
    has_attention_bias = file.flag("attention_bias", default=False)
    return replace(
        read_decoder_config(file, windows=(window,) * file.positive_integer("num_hidden_layers")),
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        experts=read_qwen_experts(file, default_num_experts=128, default_num_chosen=8, default_size=768),
        names=TensorNames(qk_norms=QK_NORMS, experts=ExpertNames()),
    )
