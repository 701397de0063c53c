"""A run as one JSON object: what was asked, where, and what came of it."""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from penstock.bench.measure import Measured
from penstock.bench.settings import LoadSettings
from penstock.bench.watch import doubts
from penstock.client import Capabilities, Model


@dataclass(frozen=True, slots=True)
class Target:
    """What was put under load."""

    address: str
    model: Model
    capabilities: Capabilities


def describe_environment(target: Target, started_at: datetime) -> dict[str, Any]:
    """Where the figures come from; to be asked before the run, since it tells how busy the machine is."""
    return {
        "started_at": started_at.astimezone(UTC).isoformat(timespec="seconds"),
        "address": target.address,
        "model": {
            "name": target.model.name,
            "revision": target.model.revision,
            "context_length": target.model.context_length,
            "num_ready_replicas": target.model.num_ready_replicas,
        },
        "server_version": target.capabilities.server_version,
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        "load_average_1m": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("penstock", "grpcio", "protobuf", "uvloop")},
    }


def warnings(measured: Measured) -> Iterator[str]:
    """What a reader of the figures must know."""
    yield from doubts(measured.generator)
    if measured.num_cut:
        yield f"{measured.num_cut} conversations were shortened to fit into the model's context"
    if measured.is_interrupted:
        yield f"interrupted; {measured.num_unfinished} requests under way were cancelled and are not counted"


def report_fields(settings: LoadSettings, environment: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """The whole report. Times in seconds, rates per second."""
    figures = measured.figures
    rates = {
        "requests_per_s": figures.requests_per_s,
        "output_tokens_per_s": figures.output_tokens_per_s,
        "goodput_per_s": figures.goodput_per_s,
        "good_share": figures.good_share,
    }
    return {
        "settings": settings.to_fields(),
        "environment": environment,
        "figures": asdict(figures) | rates,
        "generator": asdict(measured.generator),
        "is_interrupted": measured.is_interrupted,
        "num_unfinished": measured.num_unfinished,
        "num_cut_conversations": measured.num_cut,
        "warnings": list(warnings(measured)),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
