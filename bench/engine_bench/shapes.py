"""The models of the bench, as config.json fields. The weights are random: no figure depends on what they say."""

from typing import Any

_COMMON: dict[str, Any] = {
    "rope_theta": 1_000_000.0,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 1,
}

QWEN_05B: dict[str, Any] = _COMMON | {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4_864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2_048,
}
"""Qwen2.5-0.5B, 494 million parameters."""

TINY: dict[str, Any] = _COMMON | {
    "vocab_size": 2_048,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
"""For the test of the bench itself."""
