"""Qwen 3: Qwen 2 without its biases, with queries and keys normalised per head."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config
from penstock_worker.models.qwen2 import qwen_windows
from penstock_worker.models.tensor_names import TensorNames

_DEFAULT_HEAD_DIM = 128
QK_NORMS = ("self_attn.q_norm", "self_attn.k_norm")


def read_qwen3(file: ConfigFile) -> DecoderConfig:
    """`head_dim` does not follow from the hidden size here; a config that leaves it out means 128."""
    has_attention_bias = file.flag("attention_bias", default=False)
    return replace(
        read_decoder_config(file, windows=qwen_windows(file), default_head_dim=_DEFAULT_HEAD_DIM),
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        names=TensorNames(qk_norms=QK_NORMS),
    )
