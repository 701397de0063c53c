"""Which numbers along one dimension of a tensor are read. Needs no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd

Run = tuple[int, int]
"""Neighbours: the first of them, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is held of one dimension.

    Attributes:
        size: of the whole dimension.
        runs: of neighbours that are held, ascending.
        grain: a divisor of `size`; the parts of all shards begin at multiples of it.
    """

    size: int
    runs: tuple[Run, ...]
    grain: int = 1

    @property
    def length(self) -> int:
        """How many numbers are held."""
        return sum(end - begin for begin, end in self.runs)

    @property
    def is_whole(self) -> bool:
        """Whether that is all of them."""
        return self.length == self.size

    @property
    def indices(self) -> list[int]:
        """Which ones are held."""
        return [index for begin, end in self.runs for index in range(begin, end)]

    def times(self, width: int) -> "Cut":
        """The same where each number stands for `width` neighbours."""
        runs = tuple((begin * width, end * width) for begin, end in self.runs)
        return Cut(self.size * width, runs, self.grain * width)

    def words(self, per_word: int) -> "Cut | None":
        """The same where `per_word` neighbours share a word; None where a run begins or ends within one."""
        size = -(-self.size // per_word)
        if any(begin % per_word or (end % per_word and end != self.size) for begin, end in self.runs):
            return None
        return Cut(size, tuple((begin // per_word, -(-end // per_word)) for begin, end in self.runs))


Cuts = tuple[Cut, ...]
"""Of all dimensions of a tensor."""


def whole(size: int) -> Cut:
    """All of a dimension."""
    return Cut(size, ((0, size),), size)


def joined(cuts: Iterable[Cut]) -> Cut:
    """Of dimensions laid end to end."""
    start, runs = 0, list[Run]()
    for cut in cuts:
        for begin, end in cut.runs:
            if runs and runs[-1][1] == start + begin:
                runs[-1] = (runs[-1][0], start + end)
            else:
                runs.append((start + begin, start + end))
        start += cut.size
    return Cut(start, tuple(runs))


def part(size: int, runs: Sequence[Run], rank: int) -> Cut:
    """What `rank` holds where each rank holds one of `runs`."""
    return Cut(size, (runs[rank],), gcd(size, *(begin for begin, _ in runs)))


def shares(size: int, num_ranks: int, grain: int = 1) -> list[Run]:
    """A part for each rank, as even as multiples of `grain` allow; the last one takes what is left over."""
    num_grains = -(-size // grain)
    borders = [num_grains * rank // num_ranks * grain for rank in range(num_ranks)]
    return list(pairwise([*borders, size]))


def sizes(cuts: Cuts) -> tuple[int, ...]:
    """Of the whole tensor."""
    return tuple(cut.size for cut in cuts)
