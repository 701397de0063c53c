"""`penstock bench load`: runs a load, shows how it goes, and prints what came of it."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from penstock.bench.measure import Measured, Progress, measure_load
from penstock.bench.plot import save_plot
from penstock.bench.report import Target, describe_environment, report_fields
from penstock.bench.settings import LoadSettings
from penstock.bench.table import print_table
from penstock.cli.bench_progress import ProgressView
from penstock.cli.errors import INTERRUPTED, CommandError
from penstock.cli.gateway import GatewayAccess, choose_model, explained, gateway_address
from penstock.client import AsyncClient, PenstockError
from penstock.client.channel import is_loopback
from penstock.local.paths import StateDir
from penstock.local.record import load_state

_STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go besides the table: files, or `-` for standard output (JSON alone); None: nowhere."""

    json_file: Path | None
    plot_file: Path | None


def run_bench_load(
    settings: LoadSettings, outputs: Outputs, *, access: GatewayAccess, state_dir: StateDir, allow_remote: bool
) -> int:
    """Runs the load against the gateway of `access`, else that of the local stack, and gives the exit code.

    Raises:
        CommandError: no gateway is there, the settings do not fit it, or an output cannot be written.
    """
    state = load_state(state_dir.stack_file)
    target, access = gateway_address(access.address, state), access.trusting(state)
    _refuse_early(target, outputs, allow_remote=allow_remote)
    console = Console(stderr=outputs.json_file == _STANDARD_OUTPUT, soft_wrap=True, highlight=False)
    try:
        report, measured = _run(_measure(target, access, settings, console))
    except PenstockError as error:
        raise explained(error, target, settings.timeout_s) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    print_table(console, measured, settings.slo)
    _write(outputs, report, measured)
    return INTERRUPTED if measured.is_interrupted else 0


def _refuse_early(address: str, outputs: Outputs, *, allow_remote: bool) -> None:
    """What would fail after minutes of load fails before it."""
    if not (is_loopback(address) or allow_remote):
        raise CommandError(
            f"{address} is not this machine, and a load can keep others from being served; "
            "if it is yours to load, say --allow-remote"
        )
    if outputs.plot_file is not None and find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib; install it with `pip install matplotlib`")
    for path in (outputs.json_file, outputs.plot_file):
        if path is not None and path != _STANDARD_OUTPUT and not path.parent.is_dir():
            raise CommandError(f"cannot write {path}: there is no directory {path.parent}")


def _run(measuring: Any) -> tuple[dict[str, Any], Measured]:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(measuring)  # type: ignore[no-any-return]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - faster where it is installed, and not needed
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _measure(
    address: str, access: GatewayAccess, settings: LoadSettings, console: Console
) -> tuple[dict[str, Any], Measured]:
    async with AsyncClient(address, **access.client_options(), timeout_s=settings.timeout_s) as client:
        model = choose_model(await client.list_models(), settings.model)
        target = Target(address, model, await client.capabilities())
        environment = describe_environment(target, datetime.now(UTC))
        with _view(console, settings, model.name, address) as view:
            measured = await measure_load(client, model, settings, view.update)
    return report_fields(settings, environment, measured), measured


def _view(console: Console, settings: LoadSettings, model: str, address: str) -> ProgressView[Progress]:
    console.print(f"{model} at {address}: {describe(settings)}")
    return ProgressView(console, _describe_progress)


def _describe_progress(progress: Progress) -> str:
    return (
        f"{progress.at_s:5.1f} s  {progress.num_ended} ended, {progress.num_running} under way, "
        f"{progress.num_errors} errors, {progress.num_output_tokens / progress.at_s:.0f} tokens/s"
    )


def describe(settings: LoadSettings) -> str:
    """The load in one line."""
    shape = settings.shape
    if settings.rate_per_s is not None:
        loop = f"open loop, {settings.rate_per_s:g} arrivals/s"
    else:
        loop = f"closed loop, {settings.concurrency} at a time"
    limits = [f"{settings.num_requests} requests"] if settings.num_requests is not None else []
    limits += [f"{settings.duration_s:g} s"] if settings.duration_s is not None else []
    prefix = f" after a shared prefix of {shape.prefix_tokens}" if shape.prefix_tokens else ""
    lengths = f"{shape.prompt_tokens} tokens in{prefix}, {shape.output_tokens} out"
    turns = "" if str(shape.turns) == "1" else f", {shape.turns} turns"
    return f"{loop}, {' or '.join(limits)}; {lengths}{turns}; seed {settings.seed}"


def _write(outputs: Outputs, report: dict[str, Any], measured: Measured) -> None:
    text = json.dumps(report, ensure_ascii=False)
    try:
        if outputs.json_file == _STANDARD_OUTPUT:
            sys.stdout.write(f"{text}\n")
        elif outputs.json_file is not None:
            outputs.json_file.write_text(f"{text}\n")
        if outputs.plot_file is not None:
            environment = report["environment"]
            title = f"{environment['model']['name']}, {environment['num_cpus']} CPUs, {environment['started_at']}"
            save_plot(outputs.plot_file, measured.records, title=title)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}") from error
