"""Gemma 3, its text part: Gemma 2 without caps, with normalised queries and keys, and rotary positions by layer."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import FULL, SLIDING, DecoderConfig
from penstock_worker.models.gemma2 import GEMMA_NAMES, read_gemma
from penstock_worker.models.qwen3 import QK_NORMS
from penstock_worker.models.rope_config import RopeConfig, read_scaling

_DEFAULT_WINDOW = 4096
_DEFAULT_PATTERN = 6
# The authors' checkpoints leave these out of `text_config`.
_TEXT_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
}
_GLOBAL_THETA, _LOCAL_THETA = 1_000_000.0, 10_000.0


def read_gemma3(file: ConfigFile) -> DecoderConfig:
    """Every sixth layer sees all before it, the others have a window."""
    pattern = file.positive_integer("sliding_window_pattern", _DEFAULT_PATTERN)
    num_layers = file.positive_integer("num_hidden_layers")
    layer_types = [SLIDING if (index + 1) % pattern else FULL for index in range(num_layers)]
    config = read_gemma(file, layer_types, _DEFAULT_WINDOW)
    if config.attention.windows == (None,) * num_layers:
        raise file.refused("layer_types", "some layers with a window")
    file.require_absent_or("attn_logit_softcapping", None)
    far, near = _read_ropes(file, config.context_length)
    return replace(
        config,
        ropes=tuple(far if window is None else near for window in config.attention.windows),
        logit_cap=file.optional_positive_number("final_logit_softcapping", None),
        names=replace(GEMMA_NAMES, qk_norms=QK_NORMS),
    )


def read_gemma3_text(file: ConfigFile) -> DecoderConfig:
    """The text part of a checkpoint that also sees images; what belongs to that is not loaded."""
    config = read_gemma3(file.section("text_config").with_defaults(_TEXT_DEFAULTS))
    names = replace(
        config.names, base="language_model.model.", ignored_prefixes=("vision_tower.", "multi_modal_projector.")
    )
    return replace(config, names=names)


def _read_ropes(file: ConfigFile, context_length: int) -> tuple[RopeConfig, RopeConfig]:
    """Rotary positions of layers that see everything, and of those with a window, from their new or their old place."""
    if file.has("rope_parameters"):
        both = file.section("rope_parameters")
        far, near = both.section(FULL), both.section(SLIDING)
        return (
            RopeConfig(far.positive_number("rope_theta", _GLOBAL_THETA), read_scaling(file, far, context_length)),
            RopeConfig(near.positive_number("rope_theta", _LOCAL_THETA), read_scaling(file, near, context_length)),
        )
    scaling = read_scaling(file, file.section("rope_scaling"), context_length)
    return (
        RopeConfig(file.positive_number("rope_theta", _GLOBAL_THETA), scaling),
        RopeConfig(file.positive_number("rope_local_base_freq", _LOCAL_THETA)),
    )
