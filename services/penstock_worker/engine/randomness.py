"""Counter-based random numbers: each belongs to its place in an output and to nothing else.

The function is part of the contract between replicas of different versions: changing it changes what a resumed sequence
continues with.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_UNUSED_BITS = np.uint64(12)
_UNIT = 2.0**-52

Words = NDArray[np.uint64]


def uniform(seeds: Words, choice_indices: Words, positions: Words) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1 - 2**-52], one for each (seed, choice index, output position); all of one shape.

    Each word of the counter goes through SplitMix64's output function (Steele, Lea and Flood 2014, OOPSLA) in turn.
    """
    state = _mixed(seeds)
    state = _mixed(state ^ choice_indices)
    state = _mixed(state ^ positions)
    return (state >> _UNUSED_BITS).astype(np.float64) * _UNIT


def _mixed(words: Words) -> Words:
    words = words + _GOLDEN_GAMMA
    words = (words ^ (words >> _SHIFT_1)) * _MIX_1
    words = (words ^ (words >> _SHIFT_2)) * _MIX_2
    return words ^ (words >> _SHIFT_3)
