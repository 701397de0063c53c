"""Llama 1 to 3, and what shares its architecture: grouped-query attention, rotary positions, gated MLP."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config


def read_llama(file: ConfigFile) -> DecoderConfig:
    """Biases are as the config says, none by default."""
    has_attention_bias = file.flag("attention_bias", default=False)
    return replace(
        read_decoder_config(file),
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        has_mlp_bias=file.flag("mlp_bias", default=False),
    )
