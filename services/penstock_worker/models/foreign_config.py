"""A checkpoint of no family of ours, as far as its config.json tells. Needs no torch and no transformers."""

from dataclasses import dataclass
from itertools import chain

from penstock_worker.models.config_file import ConfigFile

_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")
_SIZE_FIELDS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads")
_LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True, slots=True)
class ForeignConfig:
    """What is known before transformers has loaded it.

    Attributes:
        vocab_size: token ids are below it.
        context_length: most tokens of a sequence.
    """

    vocab_size: int
    context_length: int


def read_foreign_config(file: ConfigFile) -> ForeignConfig:
    """Sizes of a decoder that transformers may know.

    Raises:
        InvalidArgumentError: a field is missing, or says that this can be no decoder with plain attention.
    """
    file.require_absent_or("is_encoder_decoder", only=False)
    file.require_absent_or("quantization_config", only=None)
    other = sorted(set(file.strings("layer_types")) - _LAYER_TYPES)
    if other:
        raise file.refused("layer_types", " or ".join(sorted(_LAYER_TYPES)))
    for size in filter(file.has, _SIZE_FIELDS):  # transformers makes modules by them
        file.positive_integer(size)
    field = next((name for name in _CONTEXT_FIELDS if file.has(name)), _CONTEXT_FIELDS[0])
    context_length = file.positive_integer(field)
    limits = chain([context_length], _lengths_before_rescaling(file, context_length))
    return ForeignConfig(vocab_size=file.positive_integer("vocab_size"), context_length=min(limits))


def _lengths_before_rescaling(file: ConfigFile, context_length: int) -> list[int]:
    """Where LongRoPE changes its factors: beyond it one long sequence would change what its neighbours compute."""
    section = file.section("rope_parameters" if file.has("rope_parameters") else "rope_scaling")
    sections = [section, *(section.section(name) for name in sorted(_LAYER_TYPES) if section.has(name))]
    original = file.positive_integer("original_max_position_embeddings", context_length)
    return [
        each.positive_integer("original_max_position_embeddings", original)
        for each in sections
        if each.text("rope_type", each.text("type", "")) in ("longrope", "su")
    ]
