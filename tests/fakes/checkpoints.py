"""Small random checkpoints of every supported family, made by transformers' own classes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    MptConfig,
    MptForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

VOCAB_SIZE = 199
EOS_TOKEN_ID = 198
WINDOW = 12

_TOKENS: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_NO_KV_HEADS: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
_SHAPE: dict[str, Any] = {**_NO_KV_HEADS, "num_key_value_heads": 2}
_EXPERTS: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_FALCON_NEW: dict[str, Any] = {"new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 96}
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
    "bloom": lambda: BloomForCausalLM(BloomConfig(**_TOKENS, hidden_size=96, n_layer=3, n_head=6)),
    "falcon": lambda: FalconForCausalLM(FalconConfig(**_NO_KV_HEADS)),
    "falcon_new": lambda: FalconForCausalLM(FalconConfig(**_NO_KV_HEADS, **_FALCON_NEW)),
    "falcon_new_one_norm": lambda: FalconForCausalLM(
        FalconConfig(**_NO_KV_HEADS, **_FALCON_NEW, num_ln_in_parallel_attn=1)
    ),
    "falcon_sequential": lambda: FalconForCausalLM(
        FalconConfig(**_NO_KV_HEADS, multi_query=False, parallel_attn=False, bias=True)
    ),
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
    "gemma3_with_images": lambda: Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={**_SHAPE, "head_dim": 32, "sliding_window": WINDOW, "layer_types": _LAYER_TYPES},
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            mm_tokens_per_image=4,
            image_token_index=VOCAB_SIZE - 1,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**_TOKENS, n_embd=64, n_layer=3, n_head=4, n_positions=512)),
    "gpt2_odd": lambda: GPT2LMHeadModel(
        GPT2Config(**_TOKENS, n_embd=64, n_layer=3, n_head=4, n_positions=512, n_inner=97)
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_NO_KV_HEADS)),
    "gpt_neox_sequential": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            **_NO_KV_HEADS,
            use_parallel_residual=False,
            attention_bias=False,
            hidden_act="gelu_fast",
            rope_parameters={"rope_type": "default", "rope_theta": 5_000.0, "partial_rotary_factor": 0.5},
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
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**_SHAPE, num_local_experts=4)),
    "mpt": lambda: MptForCausalLM(MptConfig(**_TOKENS, d_model=96, n_layers=3, n_heads=6, max_seq_len=512)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**_SHAPE, sliding_window=WINDOW)),
    "phi3_longrope": lambda: Phi3ForCausalLM(Phi3Config(**_SHAPE, **_LONGROPE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE, sliding_window=WINDOW)),
    "qwen2_some_windows": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE, **_SOME_WINDOWS)),
    "qwen2_moe": lambda: Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            **_SHAPE, **_EXPERTS, shared_expert_intermediate_size=48, sliding_window=WINDOW, use_sliding_window=True
        )
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SHAPE, head_dim=32, tie_word_embeddings=True)),
    "qwen3_moe": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**_SHAPE, **_EXPERTS, head_dim=32, norm_topk_prob=True, mlp_only_layers=[1])
    ),
}
"""A model of each kind that the decoder treats differently."""

FOREIGN: dict[str, Callable[[], PreTrainedModel]] = {
    "cohere": lambda: CohereForCausalLM(CohereConfig(**_SHAPE, logit_scale=0.5)),
    "deepseek_v3": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **_NO_KV_HEADS,
            num_key_value_heads=4,
            n_routed_experts=4,
            n_group=1,
            topk_group=1,
            num_experts_per_tok=2,
            moe_intermediate_size=32,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
        )
    ),
    "olmo3": lambda: Olmo3ForCausalLM(Olmo3Config(**_SHAPE, sliding_window=WINDOW, layer_types=_LAYER_TYPES)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            **_TOKENS,
            hidden_size=64,
            word_embed_proj_dim=64,
            ffn_dim=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=512,
        )
    ),
}
"""Models of no family of ours, which transformers' own modules run: capped, with narrow values, windows, few names."""

REFUSED: dict[str, Callable[[], PreTrainedModel]] = {
    "bert_sees_both_ways": lambda: BertLMHeadModel(BertConfig(**_NO_KV_HEADS, is_decoder=False)),
    "gpt_oss_sinks": lambda: GptOssForCausalLM(GptOssConfig(**_SHAPE, head_dim=16, num_local_experts=4)),
    "jamba_state_space": lambda: JambaForCausalLM(
        JambaConfig(**_SHAPE, attn_layer_offset=1, attn_layer_period=2, num_experts=2, use_mamba_kernels=False)
    ),
}
"""Models that transformers runs and that must not run here."""


def save_checkpoint(family: str, model_dir: Path, **options: Any) -> Path:
    """Writes a random checkpoint of `family` to `model_dir` and returns it; `options` go to `save_pretrained`."""
    torch.manual_seed(sum(family.encode()))
    model = (FAMILIES | FOREIGN | REFUSED)[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _fill(name, parameter)
    model.save_pretrained(model_dir, **options)
    return model_dir


def save_blurred_copy(model_dir: Path, copy_dir: Path, *, noise: float = 0.02) -> Path:
    """A copy of a checkpoint whose weights are a little off, so that it often says what the other says, not always."""
    shutil.copytree(model_dir, copy_dir)
    generator = torch.Generator().manual_seed(1)
    tensors = load_file(copy_dir / "model.safetensors")
    for tensor in tensors.values():
        tensor.add_(noise * torch.randn(tensor.shape, generator=generator))
    save_file(tensors, copy_dir / "model.safetensors", {"format": "pt"})
    return copy_dir


def edit_config(model_dir: Path, **fields: Any) -> None:
    """Changes fields of the checkpoint's config.json."""
    path = model_dir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _fill(name: str, parameter: torch.Tensor) -> None:
    """Nothing stays at a neutral value, so that a weight that is ignored is missed; logits spread over some units."""
    if name.endswith("bias"):
        parameter.normal_(0.0, 0.3)
    elif parameter.dim() == 1:  # of a norm
        parameter.normal_(1.0, 0.2)
    else:
        parameter.normal_(0.0, 0.15)
