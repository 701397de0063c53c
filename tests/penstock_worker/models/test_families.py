"""Each family reads its own fields, of old and of new checkpoints, and refuses its variants that do not run here."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.rope_config import LinearScaling, RopeConfig

_LEAST: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
_GPT2 = {"vocab_size": 100, "n_embd": 64, "n_head": 4, "n_layer": 4}
_MPT = {"vocab_size": 100, "d_model": 64, "n_heads": 4, "n_layers": 4}


def _read(tmp_path: Path, architecture: str, **fields: Any) -> DecoderConfig:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture], **fields}))
    return read_model_config(tmp_path)[1]


def test_gemma_3_reads_its_ropes_from_their_old_and_new_place(tmp_path: Path) -> None:
    """Far-seeing layers have a base and a scaling of their own."""
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    far, near = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, {"rope_type": "default", "rope_theta": 1e4}
    new = {"rope_parameters": {"full_attention": far, "sliding_attention": near}}
    for fields in (old, new):
        config = _read(tmp_path, "Gemma3ForCausalLM", **_LEAST, **fields, sliding_window_pattern=2, sliding_window=32)
        assert config.attention.windows == (32, None, 32, None)
        assert config.ropes[:2] == (RopeConfig(1e4), RopeConfig(1e6, LinearScaling(8.0)))


def test_gemma_3_with_images_is_read_from_its_text_part(tmp_path: Path) -> None:
    """The authors' files say no more than this of the text part; the rest is as in transformers."""
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 6, "sliding_window": 1024}
    config = _read(tmp_path, "Gemma3ForConditionalGeneration", text_config=text, vision_config={})
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 4, 256)
    assert (config.vocab_size, config.context_length) == (262_208, 131_072)
    assert config.attention.windows == (1024,) * 5 + (None,)


def test_gemma_2_alternates_and_caps_by_default(tmp_path: Path) -> None:
    """The fields that early checkpoints leave out, and what an explicit null means."""
    config = _read(tmp_path, "Gemma2ForCausalLM", **_LEAST)
    assert config.attention.windows == (4096, None) * 2
    assert (config.attention.scale, config.attention.soft_cap, config.logit_cap) == (1 / 16, 50.0, 30.0)
    assert (config.head_dim, config.embedding_scale, config.has_tied_embeddings) == (256, 8.0, True)
    config = _read(tmp_path, "Gemma2ForCausalLM", **_LEAST, attn_logit_softcapping=None)
    assert (config.attention.soft_cap, config.logit_cap) == (None, 30.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"rotary_pct": 0.5, "rotary_emb_base": 5000},
        {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 5000.0}},
    ],
)
def test_neox_reads_its_rope_from_its_old_and_its_new_place(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Pythia's checkpoints have names of their own for what others call theta and share."""
    config = _read(tmp_path, "GPTNeoXForCausalLM", **_LEAST, **fields)
    assert (config.ropes[0], config.rotary_dim) == (RopeConfig(5000.0, share=0.5), 8)


def test_long_contexts_end_where_they_are_exact(tmp_path: Path) -> None:
    """YaRN reaches its factor times the original context; LongRoPE ends at it, dynamic scaling where it would begin."""
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    assert _read(tmp_path, "Qwen2ForCausalLM", **_LEAST, rope_scaling=yarn).context_length == 2048
    dynamic = {"type": "dynamic", "factor": 4.0}
    assert _read(tmp_path, "LlamaForCausalLM", **_LEAST, rope_scaling=dynamic).context_length == 512
    longrope = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    fields = {"rope_scaling": longrope, "original_max_position_embeddings": 128}
    assert _read(tmp_path, "Phi3ForCausalLM", **_LEAST, **fields).context_length == 128


def test_falcon_shares_keys_as_its_architecture_says(tmp_path: Path) -> None:
    """One key head in the first models, some in the later ones, as many as queries where that is switched off."""

    def num_kv_heads(**fields: Any) -> int:
        return _read(tmp_path, "FalconForCausalLM", **_LEAST, **fields).num_kv_heads

    assert (num_kv_heads(), num_kv_heads(multi_query=False)) == (1, 4)
    assert num_kv_heads(new_decoder_architecture=True, num_kv_heads=2) == 2


@pytest.mark.parametrize(
    ("architecture", "fields", "field"),
    [
        ("GPT2LMHeadModel", _GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("GPT2LMHeadModel", _GPT2 | {"add_cross_attention": True}, "add_cross_attention"),
        ("GPT2LMHeadModel", _GPT2 | {"n_head": 5}, "n_head"),
        ("FalconForCausalLM", _LEAST | {"alibi": True}, "alibi"),
        ("FalconForCausalLM", _LEAST | {"new_decoder_architecture": True, "num_kv_heads": 3}, "num_kv_heads"),
        (
            "BloomForCausalLM",
            {"apply_residual_connection_post_layernorm": True},
            "apply_residual_connection_post_layernorm",
        ),
        ("MptForCausalLM", _MPT | {"attn_config": {"clip_qkv": 6}}, "clip_qkv"),
        ("MptForCausalLM", _MPT | {"attn_config": {"alibi": False}}, "alibi"),
        ("Gemma2ForCausalLM", _LEAST | {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("Gemma3ForCausalLM", _LEAST | {"layer_types": ["chunked_attention"] * 4}, "layer_types"),
        ("Phi3ForCausalLM", _LEAST | {"partial_rotary_factor": 0.45}, "partial_rotary_factor"),
        ("Phi3ForCausalLM", _LEAST | {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "rope_scaling"),
        ("MixtralForCausalLM", _LEAST | {"num_local_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok"),
        ("Qwen3MoeForCausalLM", _LEAST | {"mlp_only_layers": ["1"]}, "mlp_only_layers"),
    ],
)
def test_variant_that_does_not_run_is_refused(
    tmp_path: Path, architecture: str, fields: dict[str, Any], field: str
) -> None:
    """Running it as if it were the usual one would give garbage."""
    with pytest.raises(InvalidArgumentError) as caught:
        _read(tmp_path, architecture, **fields)
    assert caught.value.field is not None
    assert caught.value.field.endswith(f" {field}")
