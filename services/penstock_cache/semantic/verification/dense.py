"""The few operations of a small network, in numpy."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
FAR = np.float32(-1e4)

# Abramowitz and Stegun 7.1.26: the error function to 1.5e-7, and numpy has none.
_ERF_SLOPE = np.float32(0.3275911)
_ERF_TERMS = tuple(np.float32(term) for term in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))


def gelu(x: Array) -> Array:
    """Each value times the share of a normal distribution below it."""
    scaled = np.abs(x) * np.float32(0.5**0.5)
    step = 1 / (1 + _ERF_SLOPE * scaled)
    polynomial: Array = np.zeros_like(x)
    for term in _ERF_TERMS:
        polynomial = np.asarray((polynomial + term) * step, np.float32)
    erf = np.copysign(1 - polynomial * np.exp(-scaled * scaled), x)
    result: Array = x * (1 + erf) / 2
    return result


def softmax(x: Array, axis: int = -1) -> Array:
    """Positive shares that sum to one along `axis`."""
    raised = np.exp(x - x.max(axis=axis, keepdims=True))
    result: Array = raised / raised.sum(axis=axis, keepdims=True)
    return result


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Mean 0 and variance 1 along the last axis, then scaled and shifted."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    result: Array = centred / spread * weight + bias
    return result
