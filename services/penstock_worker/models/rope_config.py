"""What a checkpoint says about its rotary positions. Needs no torch: the fleet reads it before any replica runs."""

from dataclasses import dataclass

from penstock_worker.models.config_file import ConfigFile

_DEFAULT_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Every wavelength is stretched by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Scaling:
    """Llama 3.1's scaling: long wavelengths are stretched by `factor`, short ones kept, those between blended.

    A wavelength is long where fewer than `low_frequency_factor` of them fit into the original context, and short where
    more than `high_frequency_factor` do.
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context_length: int


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Frequencies of the rotary positions: powers of 1 / `theta`, then scaled."""

    theta: float
    scaling: LinearScaling | Llama3Scaling | None = None


def read_rope(file: ConfigFile) -> RopeConfig:
    """Reads `rope_parameters`, or where they are absent the older `rope_theta` and `rope_scaling`.

    Raises:
        InvalidArgumentError: a scaling that is not supported.
    """
    section = file.section("rope_parameters" if file.has("rope_parameters") else "rope_scaling")
    file.require_absent_or("partial_rotary_factor", 1.0)
    section.require_absent_or("partial_rotary_factor", 1.0)
    theta = section.positive_number("rope_theta", file.positive_number("rope_theta", _DEFAULT_THETA))
    kind = "rope_type" if section.has("rope_type") else "type"
    match section.choice(kind, ["default", "linear", "llama3"]):
        case "linear":
            return RopeConfig(theta, LinearScaling(section.positive_number("factor")))
        case "llama3":
            return RopeConfig(theta, _read_llama3(section, file.positive_integer("max_position_embeddings")))
    return RopeConfig(theta)


def _read_llama3(section: ConfigFile, context_length: int) -> Llama3Scaling:
    low = section.positive_number("low_freq_factor")
    if section.positive_number("high_freq_factor") <= low:
        raise section.refused("high_freq_factor", f"above low_freq_factor, {low}")
    return Llama3Scaling(
        factor=section.positive_number("factor"),
        low_frequency_factor=low,
        high_frequency_factor=section.positive_number("high_freq_factor"),
        original_context_length=section.positive_integer("original_max_position_embeddings", context_length),
    )
