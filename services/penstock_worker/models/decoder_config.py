"""What the lean decoder computes, whichever family the checkpoint is of. Needs no torch."""

from dataclasses import dataclass, field

from penstock_worker.models.attention_config import AttentionConfig, Windows
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.rope_config import LongRopeScaling, RopeConfig, read_rope, roped_context_length
from penstock_worker.models.stored_format import StoredFormat
from penstock_worker.models.tensor_names import TensorNames

FULL, SLIDING = "full_attention", "sliding_attention"

_ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NormConfig:
    """The norms of a model, all of one kind.

    Attributes:
        eps: added to the mean square, or to the variance.
        is_rms: RMS norm; else layer norm.
        has_unit_offset: the stored weight is what is to be added to one.
        has_bias: of a layer norm.
    """

    eps: float
    is_rms: bool = True
    has_unit_offset: bool = False
    has_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsConfig:
    """Routed experts.

    Attributes:
        num_experts: of a layer.
        num_chosen: that a token goes to.
        intermediate_size: width of one expert.
        shared_intermediate_size: width of the expert that every token goes to; None where there is none.
        has_normalized_weights: a token's weights add up to one.
        dense_layers: the layers that have an ordinary MLP all the same.
    """

    num_experts: int
    num_chosen: int
    intermediate_size: int
    shared_intermediate_size: int | None = None
    has_normalized_weights: bool
    dense_layers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Shapes, switches and tensor names. The defaults are Llama's.

    Attributes:
        vocab_size: rows of the embedding.
        hidden_size: width of the residual stream.
        intermediate_size: width of the MLP.
        num_layers: decoder layers.
        num_heads: query heads.
        num_kv_heads: key and value heads; divides `num_heads`.
        head_dim: width of one head; even.
        context_length: most tokens that the model was made for.
        norm: kind of the norms.
        attention: what attention computes.
        ropes: per layer, the rotary positions; None has none. All turn equally many dimensions.
        activation: of the MLP: "silu", "gelu" or "gelu_tanh".
        is_gated: the MLP has a gate.
        is_parallel: attention and MLP of a layer take the same residual stream, and are added together.
        has_tied_embeddings: the output projection is the embedding.
        has_qkv_bias, has_output_bias, has_mlp_bias: biases of the projections into, out of attention, and of the MLP.
        embedding_scale: multiplies the embedding.
        logit_cap: a logit l becomes `logit_cap * tanh(l / logit_cap)`; None leaves it.
        experts: routed experts in place of the MLP, or None.
        stored_format: how the checkpoint stores rounded weights; None where it does not.
        names: of the tensors. What has no name there, the model does not have.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    norm: NormConfig
    attention: AttentionConfig
    ropes: tuple[RopeConfig | None, ...]
    activation: str = "silu"
    is_gated: bool = True
    is_parallel: bool = False
    has_tied_embeddings: bool
    has_qkv_bias: bool = False
    has_output_bias: bool = False
    has_mlp_bias: bool = False
    embedding_scale: float | None = None
    logit_cap: float | None = None
    experts: ExpertsConfig | None = None
    stored_format: StoredFormat | None = None
    names: TensorNames = field(default_factory=TensorNames)

    @property
    def qkv_size(self) -> int:
        """Width of the fused projection: queries, then keys, then values."""
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_dim

    @property
    def mlp_width(self) -> int:
        """About how many numbers the MLP of a layer keeps for a token."""
        if self.experts is None:
            return self.intermediate_size
        experts = self.experts
        each = experts.num_chosen * (experts.intermediate_size + self.hidden_size)
        return max(self.intermediate_size, each + (experts.shared_intermediate_size or 0))

    @property
    def rotary_dim(self) -> int:
        """How many of a head's dimensions, from the first, the rotary positions turn."""
        rope = self.ropes[0]
        return 0 if rope is None else rope.rotary_dim(self.head_dim)


def read_decoder_config(
    file: ConfigFile,
    *,
    windows: Windows | None = None,
    default_head_dim: int | None = None,
    default_tied: bool = False,
    default_theta: float = 10_000.0,
    default_eps: float = 1e-6,
    activation_field: str = "hidden_act",
    default_activation: str = "silu",
    has_partial_rope: bool = False,
) -> DecoderConfig:
    """The fields that the families after Llama share; the family replaces what differs.

    Args:
        file: config.json.
        windows: per layer; None where every token sees all before it.
        default_head_dim: where `head_dim` is absent; None follows from the hidden size.
        default_tied: where `tie_word_embeddings` is absent.
        default_theta: where `rope_theta` is absent.
        default_eps: where `rms_norm_eps` is absent.
        activation_field: names the activation.
        default_activation: where it is absent.
        has_partial_rope: whether the family knows `partial_rotary_factor`.

    Raises:
        InvalidArgumentError: a field is missing, wrong, or asks for something that the decoder does not do.
    """
    hidden_size, num_heads = file.positive_integer("hidden_size"), file.positive_integer("num_attention_heads")
    head_dim = file.positive_integer("head_dim", default_head_dim or max(hidden_size // num_heads, 1))
    num_kv_heads = file.positive_integer("num_key_value_heads", num_heads)
    if num_heads % num_kv_heads:
        raise file.refused("num_key_value_heads", f"a divisor of num_attention_heads, {num_heads}")
    if head_dim % 2:
        raise file.refused("head_dim", "an even number")
    context_length = file.positive_integer("max_position_embeddings")
    rope = read_rope(file, context_length, default_theta=default_theta, is_partial=has_partial_rope)
    check_rope(file, rope, head_dim)
    num_layers = file.positive_integer("num_hidden_layers")
    return DecoderConfig(
        vocab_size=file.positive_integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=file.positive_integer("intermediate_size"),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        context_length=roped_context_length(rope, context_length),
        norm=NormConfig(eps=file.positive_number("rms_norm_eps", default_eps)),
        attention=AttentionConfig(windows=windows or (None,) * num_layers, scale=head_dim**-0.5),
        ropes=(rope,) * num_layers,
        activation=read_activation(file, activation_field, default_activation),
        has_tied_embeddings=file.flag("tie_word_embeddings", default=default_tied),
    )


def check_rope(file: ConfigFile, rope: RopeConfig, head_dim: int) -> None:
    """Raises InvalidArgumentError where the rotary positions do not fit a head."""
    rotary_dim = rope.rotary_dim(head_dim)
    if rotary_dim % 2 or not rotary_dim:
        raise file.refused("partial_rotary_factor", f"a share that turns an even number of {head_dim} dimensions")
    if isinstance(rope.scaling, LongRopeScaling) and 2 * len(rope.scaling.factors) != rotary_dim:
        raise file.refused("rope_scaling", f"a short_factor of {rotary_dim // 2} numbers")


def read_head_dim(file: ConfigFile, hidden_size: int, num_heads: int, field: str) -> int:
    """The width of a head where the heads make up the hidden size; `field` names their number in errors."""
    if hidden_size % num_heads or hidden_size // num_heads % 2:
        raise file.refused(field, f"heads that cut the hidden size, {hidden_size}, into equal even parts")
    return hidden_size // num_heads


def read_activation(file: ConfigFile, field: str = "hidden_act", default: str = "silu") -> str:
    """The activation that `field` names, by its name in `DecoderConfig`."""
    return _ACTIVATIONS[file.choice(field, [default, *sorted(_ACTIVATIONS.keys() - {default})])]


def read_windows(file: ConfigFile, window: int | None, default_layer_types: list[str]) -> Windows:
    """Windows by `layer_types`, "sliding_attention" or "full_attention" for each layer."""
    layer_types = file.strings("layer_types") or default_layer_types
    if len(layer_types) != len(default_layer_types) or not set(layer_types) <= {FULL, SLIDING}:
        raise file.refused("layer_types", f"{FULL} or {SLIDING} for each of {len(default_layer_types)} layers")
    return tuple(window if layer_type == SLIDING else None for layer_type in layer_types)
