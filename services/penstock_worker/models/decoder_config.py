"""What the lean decoder computes, whichever family the checkpoint is of."""

from dataclasses import dataclass

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.rope_config import RopeConfig, read_rope


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Shapes and switches of a decoder with rotary positions, RMS norms and a gated MLP.

    Attributes:
        vocab_size: rows of the embedding.
        hidden_size: width of the residual stream.
        intermediate_size: width of the gated MLP.
        num_layers: decoder layers.
        num_heads: query heads.
        num_kv_heads: key and value heads; divides `num_heads`.
        head_dim: width of one head; even.
        norm_eps: added to the mean square in every RMS norm.
        rope: frequencies of the rotary positions.
        context_length: most tokens that the model was made for.
        has_tied_embeddings: the output projection is the embedding.
        has_qkv_bias, has_output_bias, has_mlp_bias: biases of the projections into, out of attention, and of the MLP.
        has_qk_norm: queries and keys are RMS-normalised per head.
        windows: per layer, how many positions a token sees, itself included; None sees all before it.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    rope: RopeConfig
    context_length: int
    has_tied_embeddings: bool
    has_qkv_bias: bool = False
    has_output_bias: bool = False
    has_mlp_bias: bool = False
    has_qk_norm: bool = False
    windows: tuple[int | None, ...]

    @property
    def qkv_size(self) -> int:
        """Width of the fused projection: queries, then keys, then values."""
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_dim


def read_decoder_config(
    file: ConfigFile,
    *,
    windows: tuple[int | None, ...],
    default_head_dim: int | None = None,
    has_qkv_bias: bool = False,
    has_output_bias: bool = False,
    has_mlp_bias: bool = False,
    has_qk_norm: bool = False,
) -> DecoderConfig:
    """The fields that all families share; the family says what differs.

    Raises:
        InvalidArgumentError: a field is missing, wrong, or asks for something that the decoder does not do.
    """
    file.choice("hidden_act", ["silu"])
    if file.has("quantization_config"):
        raise file.refused("quantization_config", "none: only unquantized checkpoints")
    hidden_size, num_heads = file.positive_integer("hidden_size"), file.positive_integer("num_attention_heads")
    head_dim = file.positive_integer("head_dim", default_head_dim or max(hidden_size // num_heads, 1))
    num_kv_heads = file.positive_integer("num_key_value_heads", num_heads)
    if num_heads % num_kv_heads:
        raise file.refused("num_key_value_heads", f"a divisor of num_attention_heads, {num_heads}")
    if head_dim % 2:
        raise file.refused("head_dim", "an even number")
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=file.positive_integer("intermediate_size"),
        num_layers=file.positive_integer("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        norm_eps=file.positive_number("rms_norm_eps", 1e-6),
        rope=read_rope(file),
        context_length=file.positive_integer("max_position_embeddings"),
        has_tied_embeddings=file.flag("tie_word_embeddings", default=False),
        has_qkv_bias=has_qkv_bias,
        has_output_bias=has_output_bias,
        has_mlp_bias=has_mlp_bias,
        has_qk_norm=has_qk_norm,
        windows=windows,
    )


def full_attention(file: ConfigFile) -> tuple[None, ...]:
    """Windows of a model whose every token sees all before it."""
    return (None,) * file.positive_integer("num_hidden_layers")
