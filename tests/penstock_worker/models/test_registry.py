"""What config.json asks for is read exactly, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.registry import FAMILIES, read_model_config
from penstock_worker.models.rope_config import LinearScaling, Llama3Scaling, RopeConfig

_LEAST = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _read(tmp_path: Path, architecture: str = "LlamaForCausalLM", **fields: Any) -> DecoderConfig:
    """The configuration of a checkpoint with the least fields, changed by `fields`; "absent" leaves one out."""
    config = {"architectures": [architecture]} | _LEAST | fields
    config = {name: value for name, value in config.items() if value != "absent"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return read_model_config(tmp_path)[1]


def test_defaults_are_those_of_the_families_authors(tmp_path: Path) -> None:
    """A field that a config leaves out has the value that transformers gives it."""
    config = _read(tmp_path)
    assert (config.head_dim, config.norm.eps, config.ropes[0]) == (16, 1e-6, RopeConfig(10_000.0))
    assert (config.has_tied_embeddings, config.has_qkv_bias, config.has_mlp_bias) == (False, False, False)
    assert _read(tmp_path, num_key_value_heads="absent").num_kv_heads == 4
    assert _read(tmp_path, "Qwen3ForCausalLM").head_dim == 128
    assert _read(tmp_path, "MistralForCausalLM").attention.windows == (4096,) * 4


@pytest.mark.parametrize(
    ("fields", "rope"),
    [
        ({"rope_theta": 5e5}, RopeConfig(5e5)),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, RopeConfig(1e6)),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}, RopeConfig(5e5, LinearScaling(4.0))),
        (
            {"rope_parameters": {"rope_theta": 5e5, **_LLAMA3}},
            RopeConfig(
                5e5,
                Llama3Scaling(
                    factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context_length=8192
                ),
            ),
        ),
    ],
)
def test_rope_is_read_from_its_old_and_its_new_place(tmp_path: Path, fields: dict[str, Any], rope: RopeConfig) -> None:
    """Checkpoints of before and after transformers 5 are both in use."""
    assert _read(tmp_path, **fields).ropes == (rope,) * 4


@pytest.mark.parametrize(
    ("architecture", "fields", "windows"),
    [
        ("MistralForCausalLM", {"sliding_window": 32}, (32,) * 4),
        ("MistralForCausalLM", {"sliding_window": None}, (None,) * 4),
        ("Qwen2ForCausalLM", {"sliding_window": 32}, (None,) * 4),
        ("Qwen2ForCausalLM", {"sliding_window": 32, "use_sliding_window": True, "max_window_layers": 28}, (None,) * 4),
        (
            "Qwen2ForCausalLM",
            {"sliding_window": 32, "use_sliding_window": True, "max_window_layers": 1},
            (None, 32, 32, 32),
        ),
        (
            "Qwen3ForCausalLM",
            {
                "sliding_window": 32,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention"] * 2,
            },
            (32, None, 32, None),
        ),
    ],
)
def test_windows_are_as_the_family_means_them(
    tmp_path: Path, architecture: str, fields: dict[str, Any], windows: tuple[int | None, ...]
) -> None:
    """The same field means different things in different families."""
    assert _read(tmp_path, architecture, **fields).attention.windows == windows


def test_other_architecture_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    """The user sees at once what would work."""
    with pytest.raises(InvalidArgumentError) as caught:
        _read(tmp_path, "T5ForConditionalGeneration")
    assert "T5ForConditionalGeneration" in caught.value.message
    assert all(architecture in caught.value.message for architecture in FAMILIES)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hidden_size": "absent"}, "hidden_size"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_attention_heads": 10**9, "num_key_value_heads": 1}, "num_attention_heads"),
        ({"vocab_size": 2**31}, "vocab_size"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps"),
        ({"vocab_size": True}, "vocab_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 15}, "head_dim"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"quantization_config": {"quant_method": "awq"}}, "quant_method"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_type": "proportional", "factor": 4.0}}, "rope_type"),
        ({"rope_scaling": {"type": "dynamic"}}, "factor"),
        ({"rope_scaling": {"type": "linear"}}, "factor"),
        ({"rope_scaling": [1]}, "rope_scaling"),
        ({"rope_scaling": _LLAMA3 | {"high_freq_factor": 1.0}}, "high_freq_factor"),
    ],
)
def test_unsupported_field_is_refused_by_name(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    """Running it all the same would give garbage, which nobody would trace back to here."""
    with pytest.raises(InvalidArgumentError) as caught:
        _read(tmp_path, **fields)
    assert caught.value.field is not None
    assert caught.value.field.endswith(f" {field}")


@pytest.mark.parametrize("content", [None, "", "[]", "{", "[" * 100_000])
def test_broken_config_is_refused(tmp_path: Path, content: str | None) -> None:
    """One clear error names the file."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InvalidArgumentError, match=r"config\.json"):
        read_model_config(tmp_path)
