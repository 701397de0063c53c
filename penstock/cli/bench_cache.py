"""`penstock bench cache`: replays a file through the cache service and prints what came of it."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from penstock.bench.cache.cache_client import CacheClient
from penstock.bench.cache.paraphrases import DataError, ParaphraseSet, load_paraphrases
from penstock.bench.cache.plot import save_plot
from penstock.bench.cache.report import describe_environment, report_fields
from penstock.bench.cache.session import CacheBench, NoSemanticLayerError, Progress, RunResult
from penstock.bench.cache.settings import ReplaySettings
from penstock.bench.cache.table import print_table
from penstock.cli.bench_progress import ProgressView
from penstock.cli.errors import FAILED, NOTHING_THERE, CommandError
from penstock.client.channel import is_loopback
from penstock.client.errors import (
    DeadlineExceededError,
    InternalError,
    PenstockError,
    UnauthenticatedError,
    UnavailableError,
)
from penstock.local.paths import StateDir
from penstock.local.record import load_state
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import FailedPreconditionError

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class CacheAccess:
    """How the command reaches a cache service.

    Attributes:
        address: host:port; None: the local stack's.
        credential_file: has the fleet credential; None: the local stack's, with its address; else none is shown.
        timeout_s: deadline of each call.
        allows_remote: whether the service may be on another machine.
    """

    address: str | None
    credential_file: Path | None
    timeout_s: float
    allows_remote: bool


def run_bench_cache(
    data_file: Path,
    settings: ReplaySettings,
    *,
    access: CacheAccess,
    state_dir: StateDir,
    as_json: bool,
    plot_file: Path | None,
) -> None:
    """Replays `data_file` and prints the figures.

    Raises:
        CommandError: the file is no good, no cache service is there or it failed, or the plot cannot be written.
    """
    address, credential_file = _target(access, state_dir)
    _refuse_early(address, plot_file, allows_remote=access.allows_remote)
    try:
        data = load_paraphrases(data_file)
    except DataError as error:
        raise CommandError(str(error)) from error
    environment = describe_environment(address, data_file, datetime.now(UTC))
    client = CacheClient(address, _metadata(credential_file), access.timeout_s)
    bench = _prepare(client, data, settings)
    try:
        result = _run(bench, address, Console(stderr=True, soft_wrap=True, highlight=False))
    except PenstockError as error:
        raise _explained(error, address, access.timeout_s) from error
    finally:
        client.close()
    if as_json:
        sys.stdout.write(f"{json.dumps(report_fields(settings, environment, result), ensure_ascii=False)}\n")
    else:
        print_table(Console(soft_wrap=True, highlight=False), settings, result)
    if plot_file is not None:
        _save_plot(plot_file, settings, result, f"{data_file.name}, {settings.traffic}, seed {settings.seed}")


def _prepare(client: CacheClient, data: ParaphraseSet, settings: ReplaySettings) -> CacheBench:
    try:
        return CacheBench(client, data, settings)
    except ValueError as error:
        raise CommandError(f"--requests: {error}") from error


def _run(bench: CacheBench, address: str, console: Console) -> RunResult:
    try:
        with ProgressView(console, _describe_progress) as view:
            return bench.run(view.update, patience_s=_PATIENCE_S)
    except NoSemanticLayerError as error:
        raise CommandError(
            f"the cache service at {address} finds nothing by meaning: {error}; it needs the extra `semantic` "
            "(`pip install penstock[semantic]`), and PENSTOCK_CACHE_SEMANTIC must not turn it off"
        ) from error


def _describe_progress(progress: Progress) -> str:
    return (
        f"{progress.number}/{progress.num_replays} {progress.policy}: {progress.num_ended} of {progress.num_requests} "
        f"requests, {progress.num_hits} semantic hits, {progress.num_wrong} wrong"
    )


def _target(access: CacheAccess, state_dir: StateDir) -> tuple[str, Path | None]:
    """The service's address, and the file with its credential."""
    if access.address is not None:
        return access.address, access.credential_file
    state = load_state(state_dir.stack_file)
    if state is None:
        raise CommandError(
            f"nothing runs from {state_dir.path}; start a stack with `penstock up`, or name a cache service with "
            "--address and --credential-file",
            NOTHING_THERE,
        )
    return state.addresses.cache, access.credential_file or state_dir.credential_file


def _refuse_early(address: str, plot_file: Path | None, *, allows_remote: bool) -> None:
    """What would fail after minutes fails before them."""
    if not (is_loopback(address) or allows_remote):
        raise CommandError(
            f"{address} is not this machine, and the fleet credential would go there unencrypted; "
            "if that is what you want, say --allow-remote"
        )
    if plot_file is not None and find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib; install it with `pip install matplotlib`")
    if plot_file is not None and not plot_file.parent.is_dir():
        raise CommandError(f"cannot write {plot_file}: there is no directory {plot_file.parent}")


def _metadata(credential_file: Path | None) -> tuple[tuple[str, str], ...]:
    if credential_file is None:
        return ()
    try:
        return FleetCredential.load(credential_file).metadata()
    except FailedPreconditionError as error:
        raise CommandError(error.message) from error


def _explained(error: PenstockError, address: str, timeout_s: float) -> CommandError:
    if isinstance(error, UnavailableError) and error.reason is None:
        return CommandError(f"no cache service at {address}; start a stack with `penstock up`", NOTHING_THERE)
    if isinstance(error, UnauthenticatedError):
        return CommandError(f"{error.message}; give the fleet credential with --credential-file", FAILED)
    if isinstance(error, DeadlineExceededError):
        return CommandError(f"the cache service at {address} took longer than {timeout_s:g} s; see --timeout", FAILED)
    if isinstance(error, InternalError):
        return CommandError(f"the cache service at {address} failed: {error.message}; see `penstock logs cache`")
    return CommandError(f"the cache service at {address}: {error.message}", FAILED)


def _save_plot(path: Path, settings: ReplaySettings, result: RunResult, title: str) -> None:
    try:
        save_plot(path, result, max_error_rate=settings.max_error_rate, title=title)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}") from error
