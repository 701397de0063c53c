"""The cells as tables, as JSON and as a picture."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine_bench.contest import Results
from engine_bench.engines import ENGINES
from engine_bench.figures import Cell, ratio_to_best
from engine_bench.lines import multiplies_bf16
from engine_bench.workloads import Workload

_INK, _WATER, _PEER = "#33414e", "#1f77b4", "#b0b7bd"
_OURS = "penstock"
_TITLES = {kind.name: kind.title for kind in ENGINES}
_INT8 = {kind.name: kind.int8 for kind in ENGINES}


def environment(num_threads: int) -> dict[str, Any]:
    """Where the figures come from; asked before the run, since it tells how busy the machine is by itself."""
    return {
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        "num_threads": num_threads,
        "multiplies_bf16": multiplies_bf16(),
        "load_average_1m": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "transformers")},
    }


def table(workload: Workload, precision: str, results: Results) -> str:
    """One workload at one precision, for people."""
    lines = [f"{workload.title}, {precision}", f"  {'':16}{'tokens/s':>10}{'spread':>8}{'TTFT ms':>10}{'ITL ms':>9}"]
    for name, cells in results.cells.items():
        lines.append(f"  {_TITLES[name]:16}{_shown(cells[workload.name])}")
    return "\n".join([*lines, f"  {verdict(workload.name, results)}"])


def verdict(workload_name: str, results: Results) -> str:
    """Ours beside the best peer."""
    found = _ratio(workload_name, results)
    if found is None:
        return "nothing to compare"
    best, ratio = found
    return f"Penstock is at {ratio:.2f} times the best peer, {_TITLES[best]}"


def as_fields(workloads: Sequence[Workload], by_precision: dict[str, Results]) -> dict[str, Any]:
    """For JSON: every cell, the rounds behind it, and the ratios."""
    return {
        "workloads": [asdict(workload) for workload in workloads],
        "precisions": {
            precision: {
                "engines": results.about,
                "int8_means": _INT8 if precision == "int8" else None,
                "cells": {
                    name: {workload: asdict(cell) | {"spread": cell.spread} for workload, cell in cells.items()}
                    for name, cells in results.cells.items()
                },
                "ratio_to_best_peer": {each.name: _ratio(each.name, results) for each in workloads},
            }
            for precision, results in by_precision.items()
        },
    }


def save_plot(path: Path, workloads: Sequence[Workload], by_precision: dict[str, Results], *, title: str) -> None:
    """Output tokens/s: a column of the picture for each workload, a row for each precision; the line is the spread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    canvas = Canvas(figsize=(4 * len(workloads), 2.4 * len(by_precision)), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(title, fontsize=9, color=_INK)
    grid = canvas.subplots(len(by_precision), len(workloads), squeeze=False)
    for row, (precision, results) in zip(grid, by_precision.items(), strict=True):
        for axes, workload in zip(row, workloads, strict=True):
            _bars(axes, {name: cells[workload.name] for name, cells in results.cells.items()})
            axes.set_title(f"{workload.title}, {precision}", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("output tokens/s", fontsize=8)
    canvas.savefig(path, format="png", dpi=130)


def _ratio(workload_name: str, results: Results) -> tuple[str, float] | None:
    cells = {name: cells[workload_name] for name, cells in results.cells.items()}
    return ratio_to_best(cells.pop(_OURS), cells)


def _shown(cell: Cell) -> str:
    if cell.median is None:
        return f"    {cell.reason}"
    figures = cell.median
    late = f"  then {cell.reason}" if cell.reason else ""
    return f"{figures.tokens_per_s:10.1f}{cell.spread:8.0%}{figures.ttft_ms:10.0f}{figures.itl_ms:9.1f}{late}"


def _bars(axes: Any, cells: dict[str, Cell]) -> None:
    for row, (name, cell) in enumerate(reversed(cells.items())):
        if cell.median is None:
            axes.text(0, row, f" {cell.reason[:40]}", va="center", fontsize=7, color=_INK)
            continue
        found = [each.tokens_per_s for each in cell.rounds]
        axes.barh(row, cell.median.tokens_per_s, color=_WATER if name == _OURS else _PEER, height=0.65)
        axes.plot([min(found), max(found)], [row, row], color=_INK, linewidth=1)
        axes.text(max(found), row, f" {cell.median.tokens_per_s:.0f}", va="center", fontsize=7, color=_INK)
    axes.set_yticks(range(len(cells)), [_TITLES[name] for name in reversed(cells)], fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
