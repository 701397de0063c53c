"""In which format a checkpoint stores rounded weights, by `quantization_config` in its config.json. Needs no torch."""

from dataclasses import dataclass
from typing import Literal

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.quantization import Bits

_FIELD = "quantization_config"

Layout = Literal["gptq", "int-quantized", "pack-quantized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFormat:
    """Rounded weights in a checkpoint. Which tensors are rounded, their names say.

    Attributes:
        layout: how integers are laid out: GPTQ's, or one of the two of compressed-tensors.
        bits: of a weight.
        group_size: inputs that share a scale; None shares one among all inputs of an output.
        is_symmetric: zero stands for zero, without zero points of its own.
        has_rounded_activations: made to be multiplied with activations of 8 bits, a scale for each token.
        stored_zero_offset: GPTQ's first version stores its zero points less one.
    """

    layout: Layout
    bits: Bits
    group_size: int | None
    is_symmetric: bool
    has_rounded_activations: bool = False
    stored_zero_offset: int = 0


def read_stored_format(file: ConfigFile) -> StoredFormat | None:
    """The format that config.json states; None where weights are not rounded.

    Raises:
        InvalidArgumentError: names the field that asks for another format, and what is supported.
    """
    if not file.has(_FIELD):
        return None
    section = file.section(_FIELD)
    section.require("quant_method")
    if section.choice("quant_method", ["gptq", "compressed-tensors"]) == "gptq":
        return _read_gptq(section)
    return _read_compressed_tensors(section)


def _read_gptq(section: ConfigFile) -> StoredFormat:
    section.require("group_size")
    section.require_absent_or("dynamic", {})
    version = section.choice("checkpoint_format", ["gptq", "gptq_v2"])
    return StoredFormat(
        layout="gptq",
        bits=_bits(section, "bits"),
        group_size=_group_size(section),
        is_symmetric=section.flag("sym", default=True),
        stored_zero_offset=1 if version == "gptq" else 0,
    )


def _read_compressed_tensors(section: ConfigFile) -> StoredFormat:
    section.require("format")
    layout = section.choice("format", ["int-quantized", "pack-quantized"])
    section.require_absent_or("kv_cache_scheme", None)
    section.section("sparsity_config").require_absent_or("format", "dense")
    group = _only_group(section)
    group.require_absent_or("output_activations", None)
    weights = group.section("weights")
    weights.require_absent_or("type", "int")
    weights.require_absent_or("dynamic", False)
    strategy = weights.choice("strategy", ["channel", "group"])
    return StoredFormat(
        layout="pack-quantized" if layout == "pack-quantized" else "int-quantized",
        bits=_bits(weights, "num_bits"),
        group_size=_group_size(weights) if strategy == "group" else None,
        is_symmetric=weights.flag("symmetric", default=True),
        has_rounded_activations=_has_rounded_activations(group),
    )


def _only_group(section: ConfigFile) -> ConfigFile:
    groups = section.sections("config_groups")
    if len(groups) != 1:
        raise section.refused("config_groups", "one group, the same format for all projections")
    return groups[0]


def _has_rounded_activations(group: ConfigFile) -> bool:
    if not group.has("input_activations"):
        return False
    activations = group.section("input_activations")
    activations.require_absent_or("num_bits", 8)
    activations.require_absent_or("type", "int")
    activations.require_absent_or("symmetric", True)
    activations.require("dynamic")
    activations.require_absent_or("dynamic", True)
    activations.require_absent_or("strategy", "token")
    return True


def _bits(section: ConfigFile, field: str) -> Bits:
    match section.positive_integer(field):
        case 4:
            return 4
        case 8:
            return 8
    raise section.refused(field, "4 or 8")


def _group_size(section: ConfigFile) -> int | None:
    """-1 is one group for all inputs."""
    if section.is_exactly("group_size", -1):
        return None
    return section.positive_integer("group_size")
