"""A replay as a picture. matplotlib is imported when one is asked for."""

from pathlib import Path
from typing import Any

from penstock.bench.cache.error_sequence import NUM_FIRST, ErrorSequence
from penstock.bench.cache.policy import PolicyKind
from penstock.bench.cache.session import PolicyResult, RunResult

_INK, _WATER = "#33414e", "#1f77b4"
_CURVES = {
    PolicyKind.MIN_SIMILARITY: ("similarity threshold", "#c44e52", "s"),
    PolicyKind.MIN_SCORE: ("verifier's threshold, nothing learned online", "#dd8452", "^"),
    PolicyKind.MAX_ERROR_RATE: ("maximum error rate", _WATER, "o"),
}


def save_plot(path: Path, result: RunResult, *, max_error_rate: float, title: str) -> None:
    """Writes hit rate against error rate, and the error over time, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional, slow dependency
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9, color=_INK)
    rates, time = figure.subplots(1, 2)
    _rates(rates, result, max_error_rate)
    _error_over_time(time, result.sequence, max_error_rate)
    with path.open("wb") as file:
        figure.savefig(file, format="png", dpi=130)


def _rates(axes: Any, result: RunResult, max_error_rate: float) -> None:
    for kind, (label, color, marker) in _CURVES.items():
        found = sorted((each for each in (result.main, *result.compared) if each.policy.kind is kind), key=_value)
        if found:
            errors, hits = zip(*(_percent(each) for each in found), strict=True)
            axes.plot(errors, hits, color=color, marker=marker, markersize=4, label=label)
            for each, error, hit in zip(found, errors, hits, strict=True):
                axes.annotate(f"{_value(each):g}", (error, hit), (3, 4), textcoords="offset points", fontsize=6)
    axes.axvline(max_error_rate * 100, color=_INK, linewidth=0.7, linestyle=":", label="accepted")
    if result.oracle_hit_rate is not None:
        axes.axhline(result.oracle_hit_rate * 100, color=_INK, linewidth=0.7, label="oracle")
    axes.set(title="semantic hits against errors", xlabel="wrong, % of semantic lookups", ylabel="hits, % of requests")
    axes.set_xscale("symlog", linthresh=0.5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(left=-0.02)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)


def _error_over_time(axes: Any, sequence: ErrorSequence, max_error_rate: float) -> None:
    counts = [point.count for point in sequence.points]
    axes.plot(counts, [point.share * 100 for point in sequence.points], color=_WATER, label="error rate")
    lower, upper = ([getattr(point, side) * 100 for point in sequence.points] for side in ("lower", "upper"))
    axes.fill_between(counts, lower, upper, color=_WATER, alpha=0.15, linewidth=0, label="95 % at all times")
    axes.axhline(max_error_rate * 100, color=_INK, linewidth=0.7, linestyle=":", label="accepted")
    axes.axvline(NUM_FIRST, color=_INK, linewidth=0.4)
    axes.set(title="error over time", xlabel="requests that were no exact hits", ylabel="wrong, %")
    axes.set_ylim(0, max(3 * max_error_rate * 100, *(point.share * 110 for point in sequence.points), 0.1))
    axes.legend(fontsize=7)


def _value(result: PolicyResult) -> float:
    return result.policy.value


def _percent(result: PolicyResult) -> tuple[float, float]:
    return (result.figures.error_rate or 0.0) * 100, (result.figures.hit_rate or 0.0) * 100
