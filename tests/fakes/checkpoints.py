"""Small random checkpoints of every supported family, made by transformers' own classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB_SIZE = 199
EOS_TOKEN_ID = 198
WINDOW = 12

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 64}
_LAYER_TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
_LONGROPE: dict[str, Any] = {
    "original_max_position_embeddings": 256,
    "rope_parameters": {
        "rope_type": "longrope",
        "partial_rotary_factor": 0.75,
        "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 3.0],
        "long_factor": [9.0] * 6,
    },
}
_SOME_WINDOWS = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}

FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            **_SHAPE,
            head_dim=32,
            sliding_window=WINDOW,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=4.0,
        )
    ),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **_SHAPE, head_dim=32, sliding_window=WINDOW, query_pre_attn_scalar=24, layer_types=_LAYER_TYPES
        )
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE)),
    "llama_tied": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE, tie_word_embeddings=True)),
    "llama_biases": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE, attention_bias=True, mlp_bias=True)),
    "llama_rope_llama3": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE, rope_parameters=_LLAMA3_ROPE)),
    "llama_rope_linear": lambda: LlamaForCausalLM(
        LlamaConfig(**_SHAPE, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 5_000.0})
    ),
    "llama_rope_dynamic": lambda: LlamaForCausalLM(
        LlamaConfig(**_SHAPE, rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 5_000.0})
    ),
    "llama_rope_yarn": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE, rope_parameters=_YARN)),
    "mistral_window": lambda: MistralForCausalLM(MistralConfig(**_SHAPE, head_dim=32, sliding_window=WINDOW)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**_SHAPE, sliding_window=WINDOW)),
    "phi3_longrope": lambda: Phi3ForCausalLM(Phi3Config(**_SHAPE, **_LONGROPE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE, sliding_window=WINDOW)),
    "qwen2_some_windows": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE, **_SOME_WINDOWS)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SHAPE, head_dim=32, tie_word_embeddings=True)),
}
"""A model of each kind that the decoder treats differently."""


def save_checkpoint(family: str, model_dir: Path, **options: Any) -> Path:
    """Writes a random checkpoint of `family` to `model_dir` and returns it; `options` go to `save_pretrained`."""
    torch.manual_seed(sum(family.encode()))
    model = FAMILIES[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _fill(name, parameter)
    model.save_pretrained(model_dir, **options)
    return model_dir


def edit_config(model_dir: Path, **fields: Any) -> None:
    """Changes fields of the checkpoint's config.json."""
    path = model_dir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _fill(name: str, parameter: torch.Tensor) -> None:
    """Nothing stays at a neutral value, so that a weight that is ignored is missed; logits spread over some units."""
    if "norm" in name:
        parameter.normal_(1.0, 0.2)
    elif name.endswith("bias"):
        parameter.normal_(0.0, 0.3)
    else:
        parameter.normal_(0.0, 0.15)
