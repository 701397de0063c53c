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
    step = scaled * _ERF_SLOPE
    step += 1
    np.reciprocal(step, out=step)
    polynomial = step * _ERF_TERMS[0]
    for term in _ERF_TERMS[1:]:
        polynomial += term
        polynomial *= step
    np.multiply(scaled, -scaled, out=scaled)
    polynomial *= np.exp(scaled, out=scaled)
    erf: Array = np.copysign(1 - polynomial, x)
    erf += 1
    erf *= x
    erf *= np.float32(0.5)
    return erf


def softmax(x: Array, axis: int = -1) -> Array:
    """Positive shares that sum to one along `axis`."""
    raised: Array = np.exp(x - x.max(axis=axis, keepdims=True))
    raised /= raised.sum(axis=axis, keepdims=True)
    return raised


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Mean 0 and variance 1 along the last axis, then scaled and shifted."""
    centred: Array = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", centred, centred)[..., None] / np.float32(x.shape[-1])
    centred *= 1 / np.sqrt(variance + np.float32(1e-5))
    centred *= weight
    centred += bias
    return centred
