"""GPT-NeoX and Pythia: attention and MLP side by side, heads turned in part, layer norms."""

from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import (
    DecoderConfig,
    NormConfig,
    check_rope,
    read_activation,
    read_head_dim,
)
from penstock_worker.models.rope_config import RopeConfig, read_rope, roped_context_length
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(
    base="gpt_neox.",
    embedding="embed_in",
    qkv=("attention.query_key_value",),
    is_qkv_grouped=True,
    output="attention.dense",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
    final_norm="final_layer_norm",
    output_projection="embed_out",
    ignored_suffixes=(".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"),
)


def read_gpt_neox(file: ConfigFile) -> DecoderConfig:
    """A quarter of each head turns by default; `use_parallel_residual` off makes the layers sequential."""
    hidden_size, num_heads = file.positive_integer("hidden_size"), file.positive_integer("num_attention_heads")
    head_dim = read_head_dim(file, hidden_size, num_heads, "num_attention_heads")
    num_layers, context_length = (
        file.positive_integer("num_hidden_layers"),
        file.positive_integer("max_position_embeddings"),
    )
    rope = _read_rope(file, context_length, head_dim)
    has_attention_bias = file.flag("attention_bias", default=True)
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=file.positive_integer("intermediate_size"),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        context_length=roped_context_length(rope, context_length),
        norm=NormConfig(eps=file.positive_number("layer_norm_eps", 1e-5), is_rms=False, has_bias=True),
        attention=AttentionConfig(windows=(None,) * num_layers, scale=head_dim**-0.5),
        ropes=(rope,) * num_layers,
        activation=read_activation(file, default="gelu"),
        is_gated=False,
        is_parallel=file.flag("use_parallel_residual", default=True),
        has_tied_embeddings=file.flag("tie_word_embeddings", default=False),
        has_qkv_bias=has_attention_bias,
        has_output_bias=has_attention_bias,
        has_mlp_bias=True,
        names=_NAMES,
    )


def _read_rope(file: ConfigFile, context_length: int, head_dim: int) -> RopeConfig:
    """From where all have it, or from the family's own older fields."""
    rope = read_rope(
        file,
        context_length,
        default_theta=file.positive_number("rotary_emb_base", 10_000.0),
        default_share=file.positive_number("rotary_pct", 0.25),
        is_partial=True,
    )
    check_rope(file, rope, head_dim)
    return rope
