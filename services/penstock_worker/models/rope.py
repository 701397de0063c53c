"""Frequencies of rotary positions (Su et al. 2021, arXiv 2104.09864)."""

import math

import torch

from penstock_worker.models.rope_config import LinearScaling, Llama3Scaling, RopeConfig


def rope_frequencies(config: RopeConfig, head_dim: int) -> torch.Tensor:
    """Radians per position of each pair of dimensions: float32 [head_dim / 2], on CPU."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    frequencies = 1.0 / config.theta**exponents
    match config.scaling:
        case LinearScaling(factor):
            return frequencies / factor
        case Llama3Scaling() as scaling:
            return _blended(frequencies, scaling)
    return frequencies


def _blended(frequencies: torch.Tensor, scaling: Llama3Scaling) -> torch.Tensor:
    num_fitting = scaling.original_context_length * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    share_kept = ((num_fitting - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - share_kept) * frequencies / scaling.factor + share_kept * frequencies
