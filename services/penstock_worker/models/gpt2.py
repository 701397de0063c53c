"""GPT-2: learned positions, layer norms, an MLP without a gate; weights stored the other way round."""

from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, NormConfig, read_activation, read_head_dim
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(
    base="transformer.",
    embedding="wte",
    positions="wpe",
    layers="h",
    input_norm="ln_1",
    qkv=("attn.c_attn",),
    output="attn.c_proj",
    mlp_norm="ln_2",
    up=("mlp.c_fc",),
    down="mlp.c_proj",
    final_norm="ln_f",
    is_transposed=True,
    ignored_suffixes=(".attn.bias", ".attn.masked_bias"),
)


def read_gpt2(file: ConfigFile) -> DecoderConfig:
    """The variants in which layers scale their scores, or attend to something else, are refused."""
    file.require_absent_or("scale_attn_weights", only=True)
    file.require_absent_or("scale_attn_by_inverse_layer_idx", only=False)
    file.require_absent_or("add_cross_attention", only=False)
    hidden_size, num_heads = file.positive_integer("n_embd", 768), file.positive_integer("n_head", 12)
    head_dim = read_head_dim(file, hidden_size, num_heads, "n_head")
    num_layers = file.positive_integer("n_layer", 12)
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size", 50257),
        hidden_size=hidden_size,
        intermediate_size=file.positive_integer("n_inner", 4 * hidden_size),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        context_length=file.positive_integer("n_positions", 1024),
        norm=NormConfig(eps=file.positive_number("layer_norm_epsilon", 1e-5), is_rms=False, has_bias=True),
        attention=AttentionConfig(windows=(None,) * num_layers, scale=head_dim**-0.5),
        ropes=(None,) * num_layers,
        activation=read_activation(file, "activation_function", "gelu_new"),
        is_gated=False,
        has_tied_embeddings=file.flag("tie_word_embeddings", default=True),
        has_qkv_bias=True,
        has_output_bias=True,
        has_mlp_bias=True,
        names=_NAMES,
    )
