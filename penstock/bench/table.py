"""A run's figures for people."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.bench.figures import Figures, Slo, Summary
from penstock.bench.measure import Measured
from penstock.bench.report import warnings


def print_table(console: Console, measured: Measured, slo: Slo) -> None:
    """Prints latencies, rates, and what makes them doubtful."""
    console.print(Group(*_parts(measured, slo)))


def _parts(measured: Measured, slo: Slo) -> Iterator[RenderableType]:
    figures = measured.figures
    yield _latencies(figures)
    yield Text()
    yield _rates(measured, slo)
    for code, message in figures.error_messages.items():
        yield Text(f"{code}: {message}", "red")
    for warning in warnings(measured):
        yield Text(f"! {warning}", "yellow")


def _latencies(figures: Figures) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("milliseconds")
    for name in ("p50", "p90", "p95", "p99", "mean", "max", "count"):
        table.add_column(name, justify="right")
    table.add_row("time to first token", *_cells(figures.time_to_first_token_s))
    table.add_row("inter-token latency", *_cells(figures.inter_token_latency_s))
    table.add_row("time per output token", *_cells(figures.time_per_output_token_s))
    table.add_row("end to end", *_cells(figures.end_to_end_s))
    return table


def _cells(summary: Summary | None) -> list[str]:
    if summary is None:
        return ["-"] * 7
    values_s = (summary.p50, summary.p90, summary.p95, summary.p99, summary.mean, summary.max)
    return [*(f"{value_s * 1e3:.1f}" for value_s in values_s), str(summary.count)]


def _rates(measured: Measured, slo: Slo) -> Table:
    figures, generator = measured.figures, measured.generator
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row(
        "requests",
        f"{figures.num_ok} of {figures.num_requests} answered in {figures.elapsed_s:.1f} s, "
        f"{figures.requests_per_s:.2f}/s",
    )
    table.add_row(
        "tokens",
        f"{figures.output_tokens_per_s:.1f}/s out; {figures.num_output_tokens} out, "
        f"{figures.num_prompt_tokens} in prompts",
    )
    table.add_row(
        "goodput", f"{figures.goodput_per_s:.2f}/s, {_share(figures.good_share)} of requests ({_bounds(slo)})"
    )
    table.add_row("errors", _counts(figures.errors) or "none")
    table.add_row("cache", _counts(figures.cache) or "-")
    table.add_row("replicas", _counts(figures.replicas) or "-")
    table.add_row(
        "generator",
        f"{generator.cpu_share:.0%} of a core, event loop p99 {generator.loop_lag_p99_s * 1e3:.1f} ms late, "
        f"{generator.num_late} of {figures.num_requests} requests sent late",
    )
    return table


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _bounds(slo: Slo) -> str:
    bounds = {"first token": slo.ttft_s, "per token": slo.itl_s, "end to end": slo.e2e_s}
    given = [f"{name} ≤ {bound_s * 1e3:g} ms" for name, bound_s in bounds.items() if bound_s is not None]
    return ", ".join(given) or "no SLO given: every answer is good"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())
