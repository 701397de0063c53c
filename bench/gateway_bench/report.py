"""The figures as a table, as JSON and as a picture."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway_bench.figures import Figure, Round

_INK, _WATER, _ECHO, _DIRECT = "#33414e", "#1f77b4", "#b0b7bd", "#2ca02c"


def environment() -> dict[str, Any]:
    """Where the figures come from; asked before the run, since it tells how busy the machine is by itself."""
    return {
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        "load_average_1m": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("grpcio", "protobuf", "uvloop")},
    }


def table(figures: Sequence[Figure]) -> str:
    """For people."""
    lines = [f"{'median over the rounds':50} {'gateway':>10} {'bare echo':>10} {'ratio':>6}  budget"]
    for figure in figures:
        echo = "" if figure.echo is None else _number(figure.echo)
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        lines.append(
            f"{figure.name:50} {_number(figure.gateway):>10} {echo:>10} {ratio:>6}  {_verdict(figure)}".rstrip()
        )
    return "\n".join(lines)


def save_plot(path: Path, rounds: Sequence[Round], figures: Sequence[Figure], *, title: str) -> None:
    """Latencies as cumulative shares, and what a message and a request cost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    canvas = Canvas(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(title, fontsize=9, color=_INK)
    left, middle, right = canvas.subplots(1, 3, width_ratios=[2, 1, 1])
    _latencies(left, rounds)
    by_name = {figure.name: figure for figure in figures}
    _bars(middle, by_name["messages per CPU second"])
    _bars(right, by_name["CPU per short unary request, us"])
    canvas.savefig(path, format="png", dpi=130)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _verdict(figure: Figure) -> str:
    if figure.budget is None:
        return ""
    sign = ">=" if figure.budget.is_floor else "<="
    kept = "kept" if figure.budget.is_kept(figure.gateway) else "MISSED"
    return f"{sign} {figure.budget.limit:,g} {kept}"


def _latencies(axes: Any, rounds: Sequence[Round]) -> None:
    paths = (
        ("direct Session", _DIRECT, [each.session_paced for each in rounds]),
        ("bare echo, a stream each", _ECHO, [each.echo_paced for each in rounds]),
        ("gateway", _WATER, [each.gateway_paced for each in rounds]),
    )
    for name, colour, found in paths:
        ordered = sorted(value for paced in found for value in paced.latencies_ms)
        shares = [(rank + 1) / len(ordered) for rank in range(len(ordered))]
        axes.plot(ordered, shares, color=colour, label=name)
    for share in (0.5, 0.99):
        axes.axhline(share, color=_INK, linewidth=0.5, linestyle=":")
    axes.set(title="latency of a token, 64 streams, 20 ms steps", xlabel="ms", ylabel="share of tokens", ylim=(0, 1.02))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=8)


def _bars(axes: Any, figure: Figure) -> None:
    axes.bar(["bare echo", "gateway"], [figure.echo, figure.gateway], color=[_ECHO, _WATER], width=0.6)
    axes.set_title(figure.name, fontsize=10)
    if figure.budget is not None:
        axes.axhline(figure.budget.limit, color=_INK, linewidth=1, linestyle="--")
        axes.text(0.5, figure.budget.limit, "budget", ha="center", va="bottom", fontsize=8, color=_INK)
        axes.set_ylim(top=1.1 * max(figure.budget.limit, figure.echo or 0, figure.gateway))
