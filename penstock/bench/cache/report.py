"""A replay's figures for machines."""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from penstock.bench.cache.error_sequence import NUM_FIRST
from penstock.bench.cache.figures import ReplayFigures
from penstock.bench.cache.session import PolicyResult, RunResult
from penstock.bench.cache.settings import Labels, ReplaySettings
from penstock.bench.figures import Summary

_MOST_FAILURES = 0.01


def describe_environment(address: str, data: Path, started_at: datetime) -> dict[str, Any]:
    """Where the figures come from; to be asked before the run, since it tells how busy the machine is."""
    return {
        "started_at": started_at.isoformat(timespec="seconds"),
        "address": address,
        "data": str(data),
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        "load_average_1m": os.getloadavg()[0],
        "penstock": version("penstock"),
    }


def report_fields(settings: ReplaySettings, environment: dict[str, Any], result: RunResult) -> dict[str, Any]:
    """The whole report. Rates are shares of 1, times milliseconds; null where there is nothing to divide by."""
    figures = result.main.figures
    return {
        **_policy_fields(result.main),
        "oracle_hit_rate": result.oracle_hit_rate,
        "oracle_answered_rate": result.oracle_answered_rate,
        "labels": asdict(figures.labels),
        "confidence_sequence": asdict(result.sequence) | {"num_first": NUM_FIRST},
        "drift": None if figures.drift is None else asdict(figures.drift),
        "compared": [_policy_fields(each) for each in result.compared],
        "seed": settings.seed,
        "settings": settings.to_fields(),
        "environment": environment,
        "warnings": list(warnings(settings, result)),
    }


def warnings(settings: ReplaySettings, result: RunResult) -> Iterator[str]:
    """What a reader of the figures must know."""
    main, figures = result.main, result.main.figures
    num_failures = main.own_count.num_semantic_failures
    if num_failures > _MOST_FAILURES * figures.num_requests:
        yield (
            f"{num_failures} lookups by meaning failed or took longer than the service allows "
            "(PENSTOCK_CACHE_SEMANTIC_BUDGET_S): the machine is too busy for figures that hold elsewhere"
        )
    if figures.num_refused:
        yield f"the service did not store {figures.num_refused} answers"
    if figures.labels.num_undecided and settings.labels is Labels.CLASS:
        yield f"{figures.labels.num_undecided} explorations came to nothing: their tokens were not taken"
    if figures.errors["foreign"]:
        yield f"{figures.errors['foreign']} answers were served that this run never stored: another tenant's?"


def _policy_fields(result: PolicyResult) -> dict[str, Any]:
    figures = result.figures
    return {
        "policy": {result.policy.kind.value: result.policy.value},
        "hit_rate": figures.hit_rate,
        "error_rate": figures.error_rate,
        "error_rate_interval": figures.error_interval,
        "wrong_per_served": figures.wrong_per_served,
        "precision": figures.precision,
        "servable_rate": figures.servable_rate,
        "answered_rate": figures.answered_rate,
        "latency_ms": _milliseconds(figures.latency_s),
        "exact_latency_ms": _milliseconds(figures.exact_latency_s),
        **_counts(figures),
        "num_audits": result.own_count.num_audits,
        "num_semantic_failures": result.own_count.num_semantic_failures,
        "miss_reasons": figures.miss_reasons,
        "errors": figures.errors,
        "service_estimate": {
            "error_rate": result.own_count.error_rate,
            "error_rate_bound": result.own_count.error_rate_bound,
            "wrong_per_served": result.own_count.wrong_per_served,
        },
    }


def _counts(figures: ReplayFigures) -> dict[str, int]:
    return {
        "num_requests": figures.num_requests,
        "num_exact_hits": figures.num_exact_hits,
        "num_semantic_lookups": figures.num_semantic_lookups,
        "num_semantic_hits": figures.num_hits,
        "num_wrong": figures.num_wrong,
        "num_explorations": figures.num_explorations,
        "num_misses": figures.num_misses,
        "num_refused": figures.num_refused,
    }


def _milliseconds(summary: Summary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"p50": summary.p50 * 1e3, "p99": summary.p99 * 1e3, "mean": summary.mean * 1e3, "max": summary.max * 1e3}
