"""Rotary positions (Su et al. 2021, arXiv 2104.09864) and the scalings of their frequencies.

Reading their configuration needs no torch: the fleet does.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_worker.models.config_file import ConfigFile

if TYPE_CHECKING:
    import torch

_DEFAULT_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Every wavelength is stretched by `factor`."""

    factor: float

    def apply(self, frequencies: "torch.Tensor") -> "torch.Tensor":
        """The scaled frequencies."""
        return frequencies / self.factor


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

    def apply(self, frequencies: "torch.Tensor") -> "torch.Tensor":
        """The scaled frequencies."""
        num_fitting = self.original_context_length * frequencies / (2 * math.pi)
        blend = (num_fitting - self.low_frequency_factor) / (self.high_frequency_factor - self.low_frequency_factor)
        blend = blend.clamp(0.0, 1.0)
        return (1 - blend) * frequencies / self.factor + blend * frequencies


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


def rope_frequencies(config: RopeConfig, head_dim: int) -> "torch.Tensor":
    """Radians per position of each pair of dimensions: float32 [head_dim / 2], on CPU."""
    import torch  # noqa: PLC0415 - see the module's docstring

    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    frequencies = 1.0 / config.theta**exponents
    return frequencies if config.scaling is None else config.scaling.apply(frequencies)


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
