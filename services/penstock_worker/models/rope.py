"""Rotary positions (Su et al. 2021, arXiv 2104.09864)."""

import math
from collections.abc import Callable

import torch

from penstock_worker.models.rope_config import (
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeConfig,
    YarnScaling,
)

Rotate = Callable[[torch.Tensor, torch.Tensor], None]
"""See `rotate`."""


class RotaryPositions:
    """Turns positions into rotations.

    Args:
        config: theta and scaling.
        head_dim: width of a head.
        device: of the rotations.
    """

    def __init__(self, config: RopeConfig, head_dim: int, device: torch.device) -> None:
        self._frequencies = rope_frequencies(config, head_dim).to(device)
        self._amplitude = torch.full((1,), rope_amplitude(config), device=device)

    def rotations(self, positions: torch.Tensor) -> torch.Tensor:
        """Complex numbers, of length one but for the scaling's amplitude: complex64 [num_tokens, 1, rotary_dim / 2].

        Args:
            positions: int64 [num_tokens].
        """
        angles = positions.float().unsqueeze(-1) * self._frequencies
        return torch.polar(self._amplitude.expand_as(angles), angles).unsqueeze(1)


def rotate(x: torch.Tensor, rotations: torch.Tensor) -> None:
    """Turns neighbouring pairs of the last dimension by their angles, in place; see `WeightReader` for their order."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    if x.dtype == torch.float32:
        pairs.mul_(rotations)
    else:
        x.copy_(torch.view_as_real(pairs * rotations).flatten(-2))


def rotate_fixed(x: torch.Tensor, rotations: torch.Tensor) -> None:
    """The same, a row's bits being its own: a complex product rounds otherwise at the end of a thread's share."""
    cosines, sines = torch.view_as_real(rotations).unbind(-1)
    first, second = x.float().view(*x.shape[:-1], -1, 2).unbind(-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    x.copy_(torch.stack(turned, dim=-1).flatten(-2))


def rope_frequencies(config: RopeConfig, head_dim: int) -> torch.Tensor:
    """Radians per position of each pair of dimensions that turn: float32 [rotary_dim / 2], on CPU."""
    rotary_dim = config.rotary_dim(head_dim)
    exponents = torch.arange(0, rotary_dim, 2, dtype=torch.float32) / rotary_dim
    frequencies = 1.0 / config.theta**exponents
    match config.scaling:
        case LinearScaling(factor):
            return frequencies / factor
        case Llama3Scaling() as scaling:
            return _blended(frequencies, scaling)
        case YarnScaling() as scaling:
            share_stretched = _stretched_shares(config.theta, scaling, rotary_dim)
            return frequencies / scaling.factor * share_stretched + frequencies * (1 - share_stretched)
        case LongRopeScaling(factors=factors):
            return frequencies / torch.tensor(factors, dtype=torch.float32)
    return frequencies


def rope_amplitude(config: RopeConfig) -> float:
    """What multiplies queries and keys besides their rotation."""
    return config.scaling.amplitude if isinstance(config.scaling, YarnScaling | LongRopeScaling) else 1.0


def _blended(frequencies: torch.Tensor, scaling: Llama3Scaling) -> torch.Tensor:
    num_fitting = scaling.original_context_length * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    share_kept = ((num_fitting - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - share_kept) * frequencies / scaling.factor + share_kept * frequencies


def _stretched_shares(theta: float, scaling: YarnScaling, rotary_dim: int) -> torch.Tensor:
    """To which share each wavelength is stretched: 0 for short, 1 for long ones, a ramp between: [rotary_dim / 2]."""

    def dimension(num_turns: float) -> float:
        """The pair of dimensions, as a fraction, that turns so many times in the original context."""
        wavelength = scaling.original_context_length / (num_turns * 2 * math.pi)
        return rotary_dim * math.log(wavelength) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.is_truncated:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    steps = torch.arange(rotary_dim // 2, dtype=torch.float32)
    return ((steps - low) / max(high - low, 1e-3)).clamp(0.0, 1.0)
