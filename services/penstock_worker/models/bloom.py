"""BLOOM: scores fall with distance (ALiBi) in place of positions; a norm after the embedding."""

import math

from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, NormConfig, read_head_dim
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(
    base="transformer.",
    embedding="word_embeddings",
    embedding_norm="word_embeddings_layernorm",
    layers="h",
    qkv=("self_attention.query_key_value",),
    is_qkv_grouped=True,
    output="self_attention.dense",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
    final_norm="ln_f",
)
_DEFAULT_CONTEXT_LENGTH = 2048


def read_bloom(file: ConfigFile) -> DecoderConfig:
    """The context length is in `seq_length`, which transformers does not read: ALiBi knows no bound."""
    file.require_absent_or("apply_residual_connection_post_layernorm", only=False)
    hidden_size = file.positive_integer("hidden_size", file.positive_integer("n_embed", 64))
    num_heads, num_layers = file.positive_integer("n_head"), file.positive_integer("n_layer")
    head_dim = read_head_dim(file, hidden_size, num_heads, "n_head")
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        context_length=file.positive_integer("seq_length", _DEFAULT_CONTEXT_LENGTH),
        norm=NormConfig(eps=file.positive_number("layer_norm_epsilon", 1e-5), is_rms=False, has_bias=True),
        attention=AttentionConfig(
            windows=(None,) * num_layers, scale=head_dim**-0.5, alibi_slopes=bloom_slopes(num_heads)
        ),
        ropes=(None,) * num_layers,
        activation="gelu_tanh",
        is_gated=False,
        has_tied_embeddings=file.flag("tie_word_embeddings", default=True),
        has_qkv_bias=True,
        has_output_bias=True,
        has_mlp_bias=True,
        names=_NAMES,
    )


def bloom_slopes(num_heads: int) -> tuple[float, ...]:
    """Powers of one number; where the heads are no power of two, those of twice as many lie between them."""
    num_even = 2 ** int(math.log2(num_heads))
    slopes = [2 ** (-8 * (index + 1) / num_even) for index in range(num_even)]
    between = [2 ** (-4 * (2 * index + 1) / num_even) for index in range(num_heads - num_even)]
    return (*slopes, *between)
