"""Times of tokens turned into figures, and rounds into cells of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from engine_bench.lines import Times


@dataclass(frozen=True, slots=True)
class Figures:
    """One workload, once.

    Attributes:
        tokens_per_s: output tokens of all answers over the time to the last of them, prompts included.
        ttft_ms: median over the answers of the time to the first token.
        itl_ms: median time between two tokens of an answer.
    """

    tokens_per_s: float
    ttft_ms: float
    itl_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One engine at one workload and precision.

    Attributes:
        median: over the rounds, figure by figure; None where there is none.
        rounds: each round's.
        reason: why there is none.
    """

    median: Figures | None = None
    rounds: tuple[Figures, ...] = ()
    reason: str = ""

    @property
    def spread(self) -> float:
        """How far the rounds' tokens/s lie apart, as a share of their median."""
        if self.median is None:
            return 0.0
        found = [each.tokens_per_s for each in self.rounds]
        return (max(found) - min(found)) / self.median.tokens_per_s


def figures_of(times: Times) -> Figures:
    """The figures of one run, from when each token of each answer came in seconds."""
    num_tokens = sum(map(len, times))
    gaps = [later - earlier for answer in times for earlier, later in pairwise(answer)]
    return Figures(
        tokens_per_s=num_tokens / max(answer[-1] for answer in times),
        ttft_ms=1e3 * median(answer[0] for answer in times),
        itl_ms=1e3 * median(gaps),
    )


def cell_of(rounds: Sequence[Figures], reason: str) -> Cell:
    """The cell of an engine that failed after the rounds that it has, or not at all (no reason)."""
    if not rounds:
        return Cell(reason=reason or "no time was left")
    middle = Figures(
        tokens_per_s=median(each.tokens_per_s for each in rounds),
        ttft_ms=median(each.ttft_ms for each in rounds),
        itl_ms=median(each.itl_ms for each in rounds),
    )
    return Cell(median=middle, rounds=tuple(rounds), reason=reason)


def ratio_to_best(ours: Cell, peers: dict[str, Cell]) -> tuple[str, float] | None:
    """The peer with the most tokens/s, and ours over its: the median of the rounds' own ratios.

    Rounds are compared one by one, since the machine may be slower in one round than in another.
    """
    measured = {name: cell for name, cell in peers.items() if cell.median is not None}
    if ours.median is None or not measured:
        return None
    best = max(measured, key=lambda name: measured[name].median.tokens_per_s)  # type: ignore[union-attr]
    pairs = zip(ours.rounds, measured[best].rounds, strict=False)
    return best, median(one.tokens_per_s / other.tokens_per_s for one, other in pairs)
