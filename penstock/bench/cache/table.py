"""A replay's figures for people."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.bench.cache.error_sequence import NUM_FIRST, ErrorSequence
from penstock.bench.cache.figures import DriftFigures, LabelCounts
from penstock.bench.cache.report import warnings
from penstock.bench.cache.session import PolicyResult, RunResult
from penstock.bench.cache.settings import ReplaySettings
from penstock.bench.figures import Summary


def print_table(console: Console, settings: ReplaySettings, result: RunResult) -> None:
    """Prints rates, counts, and what makes them doubtful."""
    console.print(Group(*_parts(settings, result)))


def _parts(settings: ReplaySettings, result: RunResult) -> Iterator[RenderableType]:
    yield _main(settings, result)
    if result.compared:
        yield Text()
        yield _compared(result)
    for warning in warnings(settings, result):
        yield Text(f"! {warning}", "yellow")


def _main(settings: ReplaySettings, result: RunResult) -> Table:
    figures, own = result.main.figures, result.main.own_count
    low, high = figures.error_interval
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("hit rate", f"{_share(figures.hit_rate)} (an oracle: {_share(result.oracle_hit_rate)})")
    table.add_row(
        "error rate",
        f"{_share(figures.error_rate)}, 95 % {low:.2%} to {high:.2%}; at most {settings.max_error_rate:.2%}",
    )
    table.add_row("wrong per served", f"{_share(figures.wrong_per_served)}, {figures.num_wrong} of {figures.num_hits}")
    table.add_row("wrong by kind", ", ".join(f"{kind} {number}" for kind, number in figures.errors.items()))
    table.add_row(
        "requests",
        f"{figures.num_requests}: {figures.num_exact_hits} exact hits, {figures.num_hits} semantic hits, "
        f"{figures.num_explorations} explorations ({own.num_audits} audits), {figures.num_misses} misses",
    )
    table.add_row("misses", "\n".join(f"{number}: {reason}" for reason, number in figures.miss_reasons.items()) or "-")
    table.add_row("labels", _labels(figures.labels))
    table.add_row("error over time", _sequence(result.sequence))
    if figures.drift is not None:
        table.add_row("changed answers", _drift(figures.drift))
    table.add_row("its own estimate", f"{_share(own.error_rate)} wrong, at most {_share(own.error_rate_bound)}")
    table.add_row("latency", f"{_times(figures.latency_s)}; exact hits {_times(figures.exact_latency_s)}")
    return table


def _compared(result: RunResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("policy")
    for name in ("hit rate", "error rate", "wrong per served"):
        table.add_column(name, justify="right")
    for each in (result.main, *result.compared):
        table.add_row(str(each.policy), *_cells(each))
    return table


def _cells(result: PolicyResult) -> list[str]:
    figures = result.figures
    return [_share(figures.hit_rate), _share(figures.error_rate), _share(figures.wrong_per_served)]


def _labels(labels: LabelCounts) -> str:
    num_wrong = labels.num_wrongly_equivalent + labels.num_wrongly_different
    return (
        f"{labels.num}: {labels.num_undecided} undecided, {num_wrong} wrong "
        f"({labels.num_wrongly_equivalent} equivalent, {labels.num_wrongly_different} different)"
    )


def _sequence(sequence: ErrorSequence) -> str:
    if sequence.max_upper_after_first is None:
        return f"fewer than {NUM_FIRST} requests that were no exact hits"
    where = "never" if sequence.is_below_from is None else f"from request {sequence.is_below_from} on"
    return (
        f"95 % at all times: lower bound up to {_share(sequence.max_lower_after_first)}, upper up to "
        f"{_share(sequence.max_upper_after_first)} after {NUM_FIRST} requests; upper within what is accepted {where}"
    )


def _drift(drift: DriftFigures) -> str:
    return (
        f"{drift.num_wrong} of {drift.num_lookups} lookups wrong, back under after {drift.num_until_under}; "
        f"{drift.num_stale_exact_hits} exact hits brought old answers"
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _times(summary: Summary | None) -> str:
    return "-" if summary is None else f"p50 {summary.p50 * 1e3:.1f} ms, p99 {summary.p99 * 1e3:.1f} ms"
