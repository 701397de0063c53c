"""Phi 3 and 4 mini: Llama with fused projections in the checkpoint, perhaps a window and partly turned heads."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, read_decoder_config
from penstock_worker.models.tensor_names import TensorNames

_NAMES = TensorNames(qkv=("self_attn.qkv_proj",), up=("mlp.gate_up_proj",))


def read_phi3(file: ConfigFile) -> DecoderConfig:
    """Long-context versions run up to their original context; see `LongRopeScaling`."""
    window = file.positive_integer("sliding_window") if file.has("sliding_window") else None
    windows = (window,) * file.positive_integer("num_hidden_layers")
    config = read_decoder_config(file, windows=windows, default_eps=1e-5, has_partial_rope=True)
    return replace(config, names=_NAMES)
