"""Qwen 3: Qwen 2 without its biases, with queries and keys normalised per head."""

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config
from penstock_worker.models.qwen2 import qwen_windows

_DEFAULT_HEAD_DIM = 128


def read_qwen3(file: ConfigFile) -> DecoderConfig:
    """`head_dim` does not follow from the hidden size here; a config that leaves it out means 128."""
    has_attention_bias = file.flag("attention_bias", default=False)
    return read_decoder_config(
        file,
        windows=qwen_windows(file),
        default_head_dim=_DEFAULT_HEAD_DIM,
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        has_qk_norm=True,
    )
