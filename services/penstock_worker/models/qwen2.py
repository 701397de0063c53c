"""Qwen 2 and 2.5: Llama with biases on queries, keys and values, and an optional window in the upper layers."""

from dataclasses import replace

from penstock_worker.models.attention_config import Windows
from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import FULL, SLIDING, DecoderConfig, read_decoder_config, read_windows

_DEFAULT_WINDOW = 4096
_DEFAULT_NUM_FULL_LAYERS = 28


def read_qwen2(file: ConfigFile) -> DecoderConfig:
    """The window stays off unless `use_sliding_window`."""
    return replace(read_decoder_config(file, windows=qwen_windows(file)), has_qkv_bias=True)


def qwen_windows(file: ConfigFile) -> Windows | None:
    """Windows by `layer_types`; where those are absent, layers from `max_window_layers` on have one."""
    window = file.optional_positive_integer("sliding_window", _DEFAULT_WINDOW)
    if window is None or not file.flag("use_sliding_window", default=False):
        return None
    num_layers = file.positive_integer("num_hidden_layers")
    num_full = min(file.count("max_window_layers", _DEFAULT_NUM_FULL_LAYERS), num_layers)
    return read_windows(file, window, [FULL] * num_full + [SLIDING] * (num_layers - num_full))
