"""Distributions of lengths in tokens, as they are written on the command line."""

import math
import random
from dataclasses import dataclass
from typing import Protocol

_ALLOWED = "a number (200), a range (64-256), or lognormal:MEDIAN,SIGMA (lognormal:200,0.6)"


class Lengths(Protocol):
    """A distribution of whole numbers, at least 1. `str` of it is what `parse_lengths` takes."""

    def draw(self, rng: random.Random) -> int:
        """One length."""


@dataclass(frozen=True, slots=True)
class UniformLengths:
    """Every length from `low` to `high`, both included, equally likely; a fixed length where they are equal."""

    low: int
    high: int

    def draw(self, rng: random.Random) -> int:
        """One length."""
        return rng.randint(self.low, self.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class LognormalLengths:
    """Many short, few very long, as people's requests are: exp(normal(ln median, sigma)), rounded, at least 1."""

    median: float
    sigma: float

    def draw(self, rng: random.Random) -> int:
        """One length."""
        return max(1, round(rng.lognormvariate(math.log(self.median), self.sigma)))

    def __str__(self) -> str:
        return f"lognormal:{self.median:g},{self.sigma:g}"


def parse_lengths(text: str) -> Lengths:
    """The distribution that `text` names.

    Raises:
        ValueError: it names none; the message says what is allowed.
    """
    try:
        if text.startswith("lognormal:"):
            median, sigma = map(float, text.removeprefix("lognormal:").split(","))
            lengths: Lengths = LognormalLengths(median, sigma)
            is_possible = 1 <= median < math.inf and 0 <= sigma < math.inf
        else:
            low, _, high = text.partition("-")
            lengths = UniformLengths(int(low), int(high or low))
            is_possible = 1 <= lengths.low <= lengths.high
    except ValueError:
        is_possible = False
    if not is_possible:
        raise ValueError(f"got {text!r}; allowed: {_ALLOWED}, of at least 1 token")
    return lengths
