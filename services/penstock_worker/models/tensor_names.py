"""What a family calls its tensors. Needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertNames:
    """Names inside a layer with routed experts.

    Attributes:
        router: of the projection that scores the experts.
        experts: of the list of experts.
        up: inside an expert, gate and up.
        down: inside an expert.
        shared: of the expert that every token goes to, with `up` and `down` inside; None where there is none.
        shared_gate: of the projection that scales its output.
    """

    router: str = "mlp.gate"
    experts: str = "mlp.experts"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"
    shared: str | None = None
    shared_gate: str = "mlp.shared_expert_gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNames:
    """Names without ".weight" and ".bias". What is None by default, most models do not have. The rest is Llama's.

    Attributes:
        base: begins all names but the output projection's. Some checkpoints leave it out.
        embedding, positions, embedding_norm: token embedding, learned positions, norm after them.
        layers: of the list of layers; the names up to `experts` stand inside a layer.
        input_norm: before attention.
        qkv: queries, keys, values, or one tensor for all of them.
        is_qkv_grouped: the one tensor goes by key head: its queries, its key, its value.
        qk_norms: norms of queries and keys.
        output: out of attention.
        attention_post_norm: of what attention adds.
        mlp_norm: before the MLP; None in a parallel layer takes what attention takes.
        up: gate and up, or one tensor for both, or up alone.
        down: out of the MLP.
        mlp_post_norm: of what the MLP adds.
        experts: of layers with routed experts.
        final_norm: before the output projection.
        output_projection: to the vocabulary.
        is_transposed: weights of layers are stored [in, out].
        ignored_suffixes: of tensors that some checkpoints carry although they follow from others.
        ignored_prefixes: of tensors of parts that do not run here.
    """

    base: str = "model."
    embedding: str = "embed_tokens"
    positions: str | None = None
    embedding_norm: str | None = None
    layers: str = "layers"
    input_norm: str = "input_layernorm"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    is_qkv_grouped: bool = False
    qk_norms: tuple[str, str] | None = None
    output: str = "self_attn.o_proj"
    attention_post_norm: str | None = None
    mlp_norm: str | None = "post_attention_layernorm"
    up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"
    mlp_post_norm: str | None = None
    experts: ExpertNames | None = None
    final_norm: str = "norm"
    output_projection: str = "lm_head"
    is_transposed: bool = False
    ignored_suffixes: tuple[str, ...] = (".rotary_emb.inv_freq",)
    ignored_prefixes: tuple[str, ...] = ()
