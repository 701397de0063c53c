"""Qwen 2 and 2.5: Llama with biases on queries, keys and values, and an optional window in the upper layers."""

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, full_attention, read_decoder_config

_FULL, _SLIDING = "full_attention", "sliding_attention"
_DEFAULT_WINDOW = 4096
_DEFAULT_NUM_FULL_LAYERS = 28


def read_qwen2(file: ConfigFile) -> DecoderConfig:
    """The window stays off unless `use_sliding_window`."""
    return read_decoder_config(file, windows=qwen_windows(file), has_qkv_bias=True)


def qwen_windows(file: ConfigFile) -> tuple[int | None, ...]:
    """Windows by `layer_types`; where those are absent, layers from `max_window_layers` on have one."""
    window = file.optional_positive_integer("sliding_window", _DEFAULT_WINDOW)
    if window is None or not file.flag("use_sliding_window", default=False):
        return full_attention(file)
    return tuple(window if layer_type == _SLIDING else None for layer_type in _layer_types(file))


def _layer_types(file: ConfigFile) -> list[str]:
    num_layers = file.positive_integer("num_hidden_layers")
    if not file.has("layer_types"):
        num_full = min(file.count("max_window_layers", _DEFAULT_NUM_FULL_LAYERS), num_layers)
        return [_FULL] * num_full + [_SLIDING] * (num_layers - num_full)
    layer_types = file.strings("layer_types")
    if len(layer_types) != num_layers or not set(layer_types) <= {_FULL, _SLIDING}:
        raise file.refused("layer_types", f"{_FULL} or {_SLIDING} for each of {num_layers} layers")
    return layer_types
