"""Loads a model of no family of ours through transformers, and makes sure that it runs here as it would there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.foreign_check import check_against_transformers
from penstock_worker.models.attention_config import AttentionConfig, Windows
from penstock_worker.models.decoder_config import SLIDING
from penstock_worker.models.foreign_config import ForeignConfig
from penstock_worker.models.foreign_decoder import ATTENTION_NAME, AttentionCall, ForeignDecoder
from penstock_worker.models.model_shape import RunnableModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignShape:
    """See `ModelShape`."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    qkv_size: int
    mlp_width: int


def load_foreign_model(
    model_dir: Path, architecture: str, config: ForeignConfig, *, dtype: torch.dtype, device: torch.device
) -> RunnableModel:
    """Loads, probes and checks the model in `model_dir`.

    Raises:
        InvalidArgumentError: transformers does not know it without remote code, its weights are not whole, or its
            attention does not go through transformers' interface or asks for what ours does not do.
    """
    module = _load(model_dir, architecture, dtype, device)
    decoder = ForeignDecoder(module)
    try:
        with torch.inference_mode():
            calls = decoder.probe()
            shape, attention = _shape(module, calls, config), _attention(module, calls)
            check_against_transformers(decoder, shape, attention, dtype=dtype, device=device)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(architecture, f"it failed on a short text: {error}") from error
    return RunnableModel(
        model=decoder,
        shape=shape,
        attention=attention,
        dtype=dtype,
        device=device,
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_bytes=sum(parameter.nbytes for parameter in module.parameters()),
        library=f"transformers {transformers.__version__}",
    )


def _load(model_dir: Path, architecture: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    loader: Any = AutoModelForCausalLM  # its types do not know that two things come back
    try:
        module, found = loader.from_pretrained(
            model_dir,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(architecture, f"transformers says: {error}") from error
    if type(module).__name__ != architecture:
        raise _refused(architecture, f"by its model_type transformers takes it for {type(module).__name__}")
    for fault in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if found.get(fault):
            raise InvalidArgumentError("checkpoint tensors", f"{fault}: {min(map(str, found[fault]))}", "none")
    if not module._supports_attention_backend:  # noqa: SLF001 transformers' own mark
        raise _refused(architecture, "its attention does not go through the interface")
    module.set_attn_implementation(ATTENTION_NAME)
    loaded: PreTrainedModel = module.eval().to(device)
    return loaded


def _shape(module: PreTrainedModel, calls: list[AttentionCall], config: ForeignConfig) -> ForeignShape:
    """Sizes, of which the heads are what attention was called with."""
    text = module.config.get_text_config()
    if sorted(call.layer for call in calls) != list(range(text.num_hidden_layers)):
        raise ValueError(f"attention was called {len(calls)} times in {text.num_hidden_layers} layers")
    heads = {(call.num_heads, call.num_kv_heads, call.head_dim) for call in calls}
    if len(heads) > 1:
        raise ValueError(f"its layers differ in their heads: {sorted(heads)}")
    [(num_heads, num_kv_heads, head_dim)] = heads
    return ForeignShape(
        vocab_size=config.vocab_size,
        hidden_size=text.hidden_size,
        num_layers=len(calls),
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        context_length=config.context_length,
        qkv_size=(num_heads + 2 * num_kv_heads) * head_dim,
        mlp_width=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
    )


def _attention(module: PreTrainedModel, calls: list[AttentionCall]) -> AttentionConfig:
    if len({(call.scale, call.soft_cap) for call in calls}) > 1:
        raise ValueError("its layers differ in the scale or cap of their scores")
    windows = tuple(call.window for call in sorted(calls))
    if _lacks_window(module, windows):
        raise ValueError("its configuration has a window that its layers do not tell attention")
    return AttentionConfig(windows=windows, scale=calls[0].scale, soft_cap=calls[0].soft_cap)


def _lacks_window(module: PreTrainedModel, windows: Windows) -> bool:
    """Whether the configuration has a window that the layers do not tell attention."""
    text = module.config.get_text_config()
    if not getattr(text, "sliding_window", None) or not getattr(text, "use_sliding_window", True):
        return False
    layer_types = getattr(text, "layer_types", None)
    if not layer_types:
        return not any(windows)
    return any(window is None and kind == SLIDING for window, kind in zip(windows, layer_types, strict=True))


def _refused(architecture: str, reason: str) -> InvalidArgumentError:
    allowed = f"a family of docs/models.md, or a decoder that runs with transformers' attention interface; {reason}"
    return InvalidArgumentError("config.json architectures", architecture, allowed)
