"""MPT: scores fall with distance (ALiBi) in place of positions; no biases anywhere."""

import math

from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, NormConfig, read_head_dim
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(
    base="transformer.",
    embedding="wte",
    layers="blocks",
    input_norm="norm_1",
    qkv=("attn.Wqkv",),
    output="attn.out_proj",
    mlp_norm="norm_2",
    up=("ffn.up_proj",),
    down="ffn.down_proj",
    final_norm="norm_f",
)


def read_mpt(file: ConfigFile) -> DecoderConfig:
    """What transformers' own module leaves out, such as clipped or normalised queries, is refused."""
    attention = file.section("attn_config")
    _refuse_variants(file, attention)
    hidden_size, num_heads = file.positive_integer("d_model", 2048), file.positive_integer("n_heads", 16)
    head_dim = read_head_dim(file, hidden_size, num_heads, "n_heads")
    num_layers = file.positive_integer("n_layers", 24)
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size", 50368),
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        context_length=file.positive_integer("max_seq_len", 2048),
        norm=NormConfig(eps=file.positive_number("layer_norm_epsilon", 1e-5), is_rms=False),
        attention=AttentionConfig(
            windows=(None,) * num_layers,
            scale=attention.positive_number("softmax_scale", head_dim**-0.5),
            alibi_slopes=mpt_slopes(num_heads),
        ),
        ropes=(None,) * num_layers,
        activation="gelu",
        is_gated=False,
        has_tied_embeddings=file.flag("tie_word_embeddings", default=True),
        names=_NAMES,
    )


def mpt_slopes(num_heads: int) -> tuple[float, ...]:
    """Powers of one number; where the heads are no power of two, every second of the next greater one comes first."""
    num_even = 2 ** math.ceil(math.log2(num_heads))
    slopes = [2 ** (-8 * (index + 1) / num_even) for index in range(num_even)]
    return tuple(slopes if num_even == num_heads else [*slopes[1::2], *slopes[::2]][:num_heads])


def _refuse_variants(file: ConfigFile, attention: ConfigFile) -> None:
    attention.require_absent_or("alibi", only=True)
    attention.require_absent_or("alibi_bias_max", only=8)
    attention.require_absent_or("clip_qkv", only=None)
    attention.require_absent_or("qk_ln", only=False)
    attention.require_absent_or("prefix_lm", only=False)
    file.require_absent_or("logit_scale", only=None)
    file.require_absent_or("no_bias", only=True)
