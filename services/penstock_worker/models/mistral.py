"""Mistral: Llama with a sliding window in every layer."""

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config

_DEFAULT_WINDOW = 4096


def read_mistral(file: ConfigFile) -> DecoderConfig:
    """`sliding_window` is null in versions without one; a config that leaves it out means 4096."""
    window = file.optional_positive_integer("sliding_window", _DEFAULT_WINDOW)
    return read_decoder_config(file, windows=(window,) * file.positive_integer("num_hidden_layers"))
