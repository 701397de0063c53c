"""Falcon, old and new architecture: few key heads, attention and MLP side by side, layer norms."""

from dataclasses import replace

from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import (
    DecoderConfig,
    NormConfig,
    check_rope,
    read_activation,
    read_head_dim,
)
from penstock_worker.models.rope_config import read_rope, roped_context_length
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(
    base="transformer.",
    embedding="word_embeddings",
    layers="h",
    qkv=("self_attention.query_key_value",),
    is_qkv_grouped=True,
    output="self_attention.dense",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
    final_norm="ln_f",
)


def read_falcon(file: ConfigFile) -> DecoderConfig:
    """The ALiBi variant is refused: its biases are rounded in a way that would have to be matched."""
    file.require_absent_or("alibi", only=False)
    hidden_size, num_heads = file.positive_integer("hidden_size"), file.positive_integer("num_attention_heads")
    head_dim = read_head_dim(file, hidden_size, num_heads, "num_attention_heads")
    num_layers, context_length = (
        file.positive_integer("num_hidden_layers"),
        file.positive_integer("max_position_embeddings", 2048),
    )
    rope = read_rope(file, context_length)
    check_rope(file, rope, head_dim)
    has_bias, is_parallel = file.flag("bias", default=False), file.flag("parallel_attn", default=True)
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=file.positive_integer("ffn_hidden_size", 4 * hidden_size),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=_read_num_kv_heads(file, num_heads),
        head_dim=head_dim,
        context_length=roped_context_length(rope, context_length),
        norm=NormConfig(eps=file.positive_number("layer_norm_epsilon", 1e-5), is_rms=False, has_bias=True),
        attention=AttentionConfig(windows=(None,) * num_layers, scale=head_dim**-0.5),
        ropes=(rope,) * num_layers,
        activation=read_activation(file, "activation", "gelu"),
        is_gated=False,
        is_parallel=is_parallel,
        has_tied_embeddings=file.flag("tie_word_embeddings", default=True),
        has_qkv_bias=has_bias,
        has_output_bias=has_bias,
        has_mlp_bias=has_bias,
        names=_read_names(file, is_parallel=is_parallel),
    )


def _is_new(file: ConfigFile) -> bool:
    return file.flag("new_decoder_architecture", default=False)


def _read_num_kv_heads(file: ConfigFile, num_heads: int) -> int:
    if not _is_new(file):
        return 1 if file.flag("multi_query", default=True) else num_heads
    num_kv_heads = file.positive_integer("num_kv_heads", num_heads)
    if num_heads % num_kv_heads:
        raise file.refused("num_kv_heads", f"a divisor of num_attention_heads, {num_heads}")
    return num_kv_heads


def _read_names(file: ConfigFile, *, is_parallel: bool) -> TensorNames:
    """Sequential layers have a norm for the MLP; parallel ones share one, or in the new architecture have one each."""
    if not _is_new(file):
        return replace(_NAMES, mlp_norm=None) if is_parallel else _NAMES
    if not is_parallel:
        raise file.refused("parallel_attn", "true in the new architecture")
    if file.positive_integer("num_ln_in_parallel_attn", 2) == 1:
        return replace(_NAMES, mlp_norm=None)
    return replace(_NAMES, input_norm="ln_attn", mlp_norm="ln_mlp")
