"""Random numbers depend on seed, choice and position only, and are uniform."""

import numpy as np
import pytest

from penstock_worker.engine.randomness import uniform


def _uniform(seed: int, choice: int, position: int) -> float:
    words = [np.array([word], np.uint64) for word in (seed, choice, position)]
    return float(uniform(*words)[0])


@pytest.mark.parametrize(
    ("seed", "choice", "position", "expected"),
    [
        (0, 0, 0, 0.13870941014555416),
        (1, 0, 0, 0.6935121390102292),
        (0, 1, 0, 0.26913031959045397),
        (0, 0, 1, 0.18436667429957665),
        (2**64 - 1, 15, 4095, 0.48825434680009394),
    ],
)
def test_function_is_fixed(seed: int, choice: int, position: int, expected: float) -> None:
    """A sequence resumed on a replica of another version must go on with the same numbers."""
    assert _uniform(seed, choice, position) == expected


def test_numbers_do_not_depend_on_the_batch() -> None:
    """One call for many counters gives what many calls give."""
    seeds, choices, positions = np.random.default_rng(3).integers(0, 2**63, (3, 50), np.uint64)
    together = uniform(seeds, choices, positions)
    alone = [_uniform(*map(int, words)) for words in zip(seeds, choices, positions, strict=True)]
    assert together.tolist() == alone


@pytest.mark.parametrize("varied", [0, 1, 2])
def test_numbers_are_uniform_along_each_word(varied: int) -> None:
    """Counters are small consecutive numbers; the outputs must not show it (chi-square, 99.9 % bound of 63 bins)."""
    words = [np.full(64_000, 5, np.uint64) for _ in range(3)]
    words[varied] = np.arange(64_000, dtype=np.uint64)
    counts = np.bincount((uniform(*words) * 64).astype(int), minlength=64)
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 103.4


def test_neighbouring_positions_are_uncorrelated() -> None:
    """A run of likely tokens must not make another one likelier."""
    words = [np.full(50_000, 9, np.uint64), np.zeros(50_000, np.uint64), np.arange(50_000, dtype=np.uint64)]
    numbers = uniform(*words)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.015
