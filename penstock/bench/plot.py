"""A run's figures as a picture. matplotlib is imported when one is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.bench.record import RequestRecord

_INK, _WATER = "#33414e", "#1f77b4"


def throughput_over_time(records: Sequence[RequestRecord], bin_s: float) -> list[float]:
    """Output tokens a second in each bin of `bin_s` seconds from the start on."""
    arrivals = [
        (at_s, num_tokens)
        for record in records
        for at_s, num_tokens in zip(record.token_times_s, record.token_counts, strict=True)
    ]
    if not arrivals:
        return []
    bins = [0.0] * (int(max(at_s for at_s, _ in arrivals) / bin_s) + 1)
    for at_s, num_tokens in arrivals:
        bins[int(at_s / bin_s)] += num_tokens / bin_s
    return bins


def save_plot(path: Path, records: Sequence[RequestRecord], *, title: str) -> None:
    """Writes distributions of TTFT and inter-token latency, and throughput over time, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional, slow dependency
    from matplotlib.figure import Figure  # noqa: PLC0415

    answers = [record for record in records if record.is_ok]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9, color=_INK)
    first, gaps, rate = figure.subplots(1, 3)
    times_s = [record.time_to_first_token_s for record in answers]
    _distribution(first, "time to first token", [time_s for time_s in times_s if time_s is not None])
    _distribution(gaps, "inter-token latency", [gap_s for record in answers for gap_s in record.gaps_s])
    _throughput(rate, records)
    with path.open("wb") as file:
        figure.savefig(file, format="png", dpi=130)


def _distribution(axes: Any, name: str, values_s: Sequence[float]) -> None:
    """The share of values up to each value: percentiles can be read off it, and no choice of bins shapes it."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - an optional, slow dependency

    ordered_ms = sorted(value_s * 1e3 for value_s in values_s)
    shares = [(rank + 1) / len(ordered_ms) for rank in range(len(ordered_ms))]
    axes.plot(ordered_ms, shares, color=_WATER, drawstyle="steps-post")
    for share in (0.5, 0.99):
        axes.axhline(share, color=_INK, linewidth=0.5, linestyle=":")
    axes.set(title=name, xlabel="ms", ylabel="share of values", ylim=(0, 1.02))
    if ordered_ms and ordered_ms[0] > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _throughput(axes: Any, records: Sequence[RequestRecord]) -> None:
    elapsed_s = max((record.ended_s for record in records), default=0.0)
    bin_s = max(0.25, elapsed_s / 100)
    rates = throughput_over_time(records, bin_s)
    axes.step([index * bin_s for index in range(len(rates))], rates, where="post", color=_WATER)
    axes.set(title="throughput", xlabel="s", ylabel="output tokens/s")
    axes.set_ylim(bottom=0)
