"""Gemma 2: capped scores and logits, a window in every other layer, a norm before and after each part of a layer."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import FULL, SLIDING, DecoderConfig, read_decoder_config, read_windows
from penstock_worker.models.tensor_names import TensorNames

_DEFAULT_HEAD_DIM = 256
_DEFAULT_QUERY_SCALAR = 256.0
_DEFAULT_WINDOW = 4096
_DEFAULT_SCORE_CAP, _DEFAULT_LOGIT_CAP = 50.0, 30.0

GEMMA_NAMES = TensorNames(
    attention_post_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
)


def read_gemma2(file: ConfigFile) -> DecoderConfig:
    """Layers alternate, the lowest with a window."""
    num_layers = file.positive_integer("num_hidden_layers")
    alternating = [FULL if index % 2 else SLIDING for index in range(num_layers)]
    config = read_gemma(file, alternating, _DEFAULT_WINDOW)
    score_cap = file.optional_positive_number("attn_logit_softcapping", _DEFAULT_SCORE_CAP)
    return replace(
        config,
        attention=replace(config.attention, soft_cap=score_cap),
        logit_cap=file.optional_positive_number("final_logit_softcapping", _DEFAULT_LOGIT_CAP),
    )


def read_gemma(file: ConfigFile, default_layer_types: list[str], default_window: int) -> DecoderConfig:
    """What Gemma 2 and 3 share."""
    file.require_absent_or("use_bidirectional_attention", only=False)
    windows = read_windows(file, file.positive_integer("sliding_window", default_window), default_layer_types)
    config = read_decoder_config(
        file,
        windows=windows,
        default_head_dim=_DEFAULT_HEAD_DIM,
        default_tied=True,
        activation_field="hidden_activation",
        default_activation="gelu_pytorch_tanh",
    )
    has_attention_bias = file.flag("attention_bias", default=False)
    scale = file.positive_number("query_pre_attn_scalar", _DEFAULT_QUERY_SCALAR) ** -0.5
    return replace(
        config,
        norm=replace(config.norm, has_unit_offset=True),
        attention=replace(config.attention, scale=scale),
        embedding_scale=config.hidden_size**0.5,
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        names=GEMMA_NAMES,
    )
