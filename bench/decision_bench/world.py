"""Prompts, the classes of prompts that one answer serves, and the scores that a verifier gives to pairs of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: equal numbers are equal texts."""

    number: int
    klass: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer that is stored: to which prompt, in which version of its class, in which cluster."""

    prompt: Prompt
    version: int
    cluster: str
    created_s: float


class World(Protocol):
    """Where prompts and scores come from."""

    num_classes: int

    def prompt(self, klass: int, rng: np.random.Generator) -> Prompt:
        """A prompt of a class."""

    def family(self, klass: int) -> int:
        """Classes of other families are never near."""

    def scores(self, query: Prompt, stored: Sequence[Stored]) -> NDArray[np.float64]:
        """The verifier's logits."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """How well scores tell right from wrong. With the defaults they are about calibrated at the top, and mediocre.

    Attributes:
        same, sibling: mean scores of pairs of one class, and of near misses.
        prompt_noise, pair_noise: standard deviations of what belongs to a prompt, and to a pair.
        family_noise: of what belongs to near misses of one family: some are harder.
        slope, offset: what is done to all scores at the end: a badly calibrated verifier.
        overlooked: share of near misses whose difference the verifier does not see; they score like the best pairs.
    """

    same: float = 2.8
    sibling: float = -1.7
    prompt_noise: float = 1.0
    pair_noise: float = 1.4
    family_noise: float = 1.2
    slope: float = 1.0
    offset: float = 0.0
    overlooked: float = 0.0


class SyntheticWorld:
    """Families of one to four classes.

    Args:
        num_classes: in all.
        prompts_a_class: how many there are of each; None: every prompt is a new one.
        verifier: how good it is.
        seed: of the families and scores.
    """

    def __init__(self, *, num_classes: int, prompts_a_class: int | None, verifier: Verifier, seed: int) -> None:
        self.num_classes = num_classes
        self._prompts_a_class = prompts_a_class
        self._verifier = verifier
        self._seed = seed
        self._next_number = 0
        rng = np.random.default_rng(seed)
        sizes = rng.choice([1, 2, 3, 4], size=num_classes, p=[0.3, 0.2, 0.25, 0.25])
        self._family = np.repeat(np.arange(num_classes), sizes)[:num_classes]
        self._hardness = rng.normal(0, verifier.family_noise, num_classes)

    def prompt(self, klass: int, rng: np.random.Generator) -> Prompt:
        """A prompt of a class."""
        if self._prompts_a_class is None:
            self._next_number += 1
            return Prompt(self._next_number, klass)
        return Prompt(klass * self._prompts_a_class + int(rng.integers(self._prompts_a_class)), klass)

    def all_prompts(self) -> list[Prompt]:
        """Each once, where they are finite."""
        assert self._prompts_a_class is not None
        numbers = range(self.num_classes * self._prompts_a_class)
        return [Prompt(number, number // self._prompts_a_class) for number in numbers]

    def classes_with_siblings(self, at_least: int) -> list[int]:
        """Classes of families of so many or more."""
        sizes = np.bincount(self._family)
        return [klass for klass in range(self.num_classes) if sizes[self._family[klass]] >= at_least]

    def lone_classes(self) -> list[int]:
        """Classes without near misses."""
        sizes = np.bincount(self._family)
        return [klass for klass in range(self.num_classes) if sizes[self._family[klass]] == 1]

    def family(self, klass: int) -> int:
        """Classes of other families are never near."""
        return int(self._family[klass])

    def scores(self, query: Prompt, stored: Sequence[Stored]) -> NDArray[np.float64]:
        """The verifier's logits: the same pair has the same score."""
        verifier = self._verifier
        drawn = np.array([_draws(self._seed, query.number, each.prompt.number) for each in stored])  # [num_stored, 2]
        own = _draws(self._seed, query.number, -1)[0] * verifier.prompt_noise
        is_same = np.array([each.prompt.klass == query.klass for each in stored])
        is_overlooked = drawn[:, 1] < verifier.overlooked
        apart = verifier.sibling + self._hardness[self.family(query.klass)]
        base = np.where(is_same, verifier.same, np.where(is_overlooked, verifier.same, apart))
        return verifier.offset + verifier.slope * (base + own + drawn[:, 0] * verifier.pair_noise)


def _draws(seed: int, one: int, other: int) -> tuple[float, float]:
    """A standard normal number and one from [0, 1) that belong to a pair: its hash, by SplitMix64 and Box-Muller."""
    bits = hash((seed, one, other)) & _MASK
    halves = []
    for _ in range(2):
        bits = (bits + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        halves.append(mixed ^ (mixed >> 31))
    high, low = (halves[0] >> 32) / 2**32, (halves[0] & 0xFFFFFFFF) / 2**32
    normal = np.sqrt(-2 * np.log(1 - high)) * np.cos(2 * np.pi * low)
    return float(normal), halves[1] / 2**64
