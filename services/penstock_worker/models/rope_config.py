"""What a checkpoint says about its rotary positions. Needs no torch: the fleet reads it before any replica runs."""

import math
from dataclasses import dataclass

from penstock_worker.models.config_file import ConfigFile

_DEFAULT_THETA = 10_000.0
_SCALINGS = ["default", "linear", "llama3", "dynamic", "yarn", "longrope", "su"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnScaling:
    """YaRN (Peng et al. 2023, arXiv 2309.00071): as Llama 3.1's, but blended along the dimensions.

    Attributes:
        factor: by which long wavelengths are stretched.
        beta_fast, beta_slow: turns within the original context from which on, and up to which, a wavelength is short
            or long.
        original_context_length: before stretching.
        is_truncated: the borders are rounded outwards to whole dimensions.
        amplitude: multiplies queries and keys.
    """

    factor: float
    beta_fast: float
    beta_slow: float
    original_context_length: int
    is_truncated: bool
    amplitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRopeScaling:
    """LongRoPE (Ding et al. 2024, arXiv 2402.13753) within the original context: a factor for each wavelength.

    Beyond it the model would want other factors, for all of a sequence's tokens at once; it ends there.
    """

    factors: tuple[float, ...]
    original_context_length: int
    amplitude: float


RopeScaling = LinearScaling | Llama3Scaling | YarnScaling | LongRopeScaling


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Frequencies of the rotary positions: powers of 1 / `theta`, then scaled.

    Attributes:
        theta: the base.
        scaling: None where there is none.
        share: of a head's dimensions that are turned.
    """

    theta: float
    scaling: RopeScaling | None = None
    share: float = 1.0

    def rotary_dim(self, head_dim: int) -> int:
        """How many of a head's dimensions are turned."""
        return int(head_dim * self.share)


def read_rope(
    file: ConfigFile,
    context_length: int,
    *,
    default_theta: float = _DEFAULT_THETA,
    default_share: float = 1.0,
    is_partial: bool = False,
) -> RopeConfig:
    """Reads `rope_parameters`, or where they are absent the older `rope_theta` and `rope_scaling`.

    Args:
        file: config.json.
        context_length: as config.json states it.
        default_theta: where `rope_theta` is absent.
        default_share: where `partial_rotary_factor` is absent.
        is_partial: whether the family knows `partial_rotary_factor`.

    Raises:
        InvalidArgumentError: a scaling that is not supported.
    """
    section = file.section("rope_parameters" if file.has("rope_parameters") else "rope_scaling")
    theta = section.positive_number("rope_theta", file.positive_number("rope_theta", default_theta))
    share = _read_share(file, section, default_share)
    if share != 1 and not is_partial:
        raise (section if section.has("partial_rotary_factor") else file).refused("partial_rotary_factor", "1.0")
    return RopeConfig(theta, read_scaling(file, section, context_length), share)


def read_scaling(file: ConfigFile, section: ConfigFile, context_length: int) -> RopeScaling | None:
    """The scaling that `section` of config.json describes."""
    match section.choice("rope_type" if section.has("rope_type") else "type", _SCALINGS):
        case "linear":
            return LinearScaling(section.positive_number("factor"))
        case "llama3":
            return _read_llama3(section, context_length)
        case "yarn":
            return _read_yarn(section, context_length)
        case "longrope" | "su":
            return _read_longrope(file, section, context_length)
        case "dynamic":
            section.positive_number("factor")  # counts beyond the context length, which is where sequences end here
    return None


def roped_context_length(rope: RopeConfig, stated: int) -> int:
    """The context length of a model that states `stated` positions.

    A config that switches YaRN on states the original context; LongRoPE ends at it, see `LongRopeScaling`.
    """
    match rope.scaling:
        case YarnScaling(factor=factor, original_context_length=original):
            return max(stated, int(factor * original))
        case LongRopeScaling(original_context_length=original):
            return min(stated, original)
    return stated


def _read_share(file: ConfigFile, section: ConfigFile, default: float) -> float:
    share = section.positive_number("partial_rotary_factor", file.positive_number("partial_rotary_factor", default))
    if share > 1:
        raise section.refused("partial_rotary_factor", "at most 1")
    return share


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


def _read_yarn(section: ConfigFile, context_length: int) -> YarnScaling:
    original = section.positive_integer("original_max_position_embeddings", context_length)
    factor = section.positive_number("factor", context_length / original)
    if section.has("mscale") and section.has("mscale_all_dim"):
        mscale, mscale_all_dim = section.positive_number("mscale"), section.positive_number("mscale_all_dim")
        amplitude = _yarn_amplitude(factor, mscale) / _yarn_amplitude(factor, mscale_all_dim)
    else:
        amplitude = _yarn_amplitude(factor, 1.0)
    return YarnScaling(
        factor=factor,
        beta_fast=section.positive_number("beta_fast", 32.0),
        beta_slow=section.positive_number("beta_slow", 1.0),
        original_context_length=original,
        is_truncated=section.flag("truncate", default=True),
        amplitude=section.positive_number("attention_factor", amplitude),
    )


def _yarn_amplitude(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _read_longrope(file: ConfigFile, section: ConfigFile, context_length: int) -> LongRopeScaling:
    original = file.positive_integer("original_max_position_embeddings", context_length)
    original = section.positive_integer("original_max_position_embeddings", original)
    factor = section.positive_number("factor", context_length / original)
    amplitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return LongRopeScaling(
        factors=tuple(section.positive_numbers("short_factor")),
        original_context_length=original,
        amplitude=section.positive_number("attention_factor", amplitude),
    )
