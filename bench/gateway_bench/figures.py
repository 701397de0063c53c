"""Rounds turned into figures: medians over the rounds, and ratios taken within a round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from gateway_bench.loads import Cost, Paced

from penstock.bench.figures import percentile


@dataclass(frozen=True, slots=True)
class Round:
    """All loads once, one after the other."""

    echo_unary: Cost
    hops_unary: Cost
    gateway_unary: Cost
    echo_messages: Cost
    gateway_messages: Cost
    num_full_speed_tokens: int
    echo_paced: Paced
    session_paced: Paced
    gateway_paced: Paced


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure may be: at most, or at least."""

    limit: float
    is_floor: bool = False

    def is_kept(self, value: float) -> bool:
        """Whether a figure is within it."""
        return value >= self.limit if self.is_floor else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured, with its unit.
        gateway, echo: medians over the rounds; echo is None where it has no such figure.
        ratio: median of the rounds' own ratios of gateway to echo.
        budget: for the gateway.
    """

    name: str
    gateway: float
    echo: float | None = None
    ratio: float | None = None
    budget: Budget | None = None


def figures_of(rounds: Sequence[Round]) -> list[Figure]:
    """All lines."""
    return [
        _latency("added latency p50, ms", rounds, 0.5, Budget(0.75)),
        _latency("added latency p99, ms", rounds, 0.99, None),
        *(
            Figure(f"latency p{share * 100:.0f} over the gateway, ms", *_compared(rounds, _latency_of(share)))
            for share in (0.5, 0.99)
        ),
        Figure(
            "CPU per paced token, us",
            *_compared(
                rounds, lambda each: (_cost(each.gateway_paced).cpu_us_each, _cost(each.echo_paced).cpu_us_each)
            ),
        ),
        Figure(
            "messages per CPU second",
            *_compared(rounds, lambda each: (each.gateway_messages.per_cpu_s, each.echo_messages.per_cpu_s)),
            Budget(20_000, is_floor=True),
        ),
        Figure(
            "messages/s by the wall clock",
            *_compared(rounds, lambda each: (each.gateway_messages.per_s, each.echo_messages.per_s)),
        ),
        Figure(
            "tokens per message at full speed",
            median(each.num_full_speed_tokens / each.gateway_messages.count for each in rounds),
        ),
        Figure(
            "CPU per short unary request, us",
            *_compared(rounds, lambda each: (each.gateway_unary.cpu_us_each, each.echo_unary.cpu_us_each)),
            Budget(700),
        ),
        Figure(
            "the same beside an echo with the same calls, us",
            *_compared(rounds, lambda each: (each.gateway_unary.cpu_us_each, each.hops_unary.cpu_us_each)),
        ),
        Figure(
            "short unary requests/s by the wall clock",
            *_compared(rounds, lambda each: (each.gateway_unary.per_s, each.echo_unary.per_s)),
        ),
    ]


def to_fields(figure: Figure) -> dict[str, Any]:
    """For JSON."""
    fields: dict[str, Any] = {
        "name": figure.name,
        "gateway": figure.gateway,
        "echo": figure.echo,
        "ratio": figure.ratio,
    }
    if figure.budget is not None:
        fields |= {"budget": figure.budget.limit, "is_kept": figure.budget.is_kept(figure.gateway)}
    return fields


def _latency(name: str, rounds: Sequence[Round], share: float, budget: Budget | None) -> Figure:
    """What gateway and echo add to the direct Session, round by round."""

    def added(each: Round) -> tuple[float, float]:
        direct = percentile(sorted(each.session_paced.latencies_ms), share)
        gateway, echo = _latency_of(share)(each)
        return gateway - direct, echo - direct

    gateway, echo = zip(*map(added, rounds), strict=True)
    return Figure(name, median(gateway), median(echo), None, budget)


def _latency_of(share: float) -> Callable[[Round], tuple[float, float]]:
    def latencies(each: Round) -> tuple[float, float]:
        found = (each.gateway_paced.latencies_ms, each.echo_paced.latencies_ms)
        gateway, echo = (percentile(sorted(values), share) for values in found)
        return gateway, echo

    return latencies


def _compared(rounds: Sequence[Round], values: Callable[[Round], tuple[float, float]]) -> tuple[float, float, float]:
    """Median of the gateway's values, of the echo's, and of their ratios."""
    pairs = [values(each) for each in rounds]
    gateway, echo = zip(*pairs, strict=True)
    return median(gateway), median(echo), median(one / other for one, other in pairs)


def _cost(paced: Paced) -> Cost:
    assert paced.cost is not None, "counted for processes under test"
    return paced.cost
