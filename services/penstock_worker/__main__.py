"""`python -m penstock_worker`: brings up Ray, the fleet and its replicas; serves until signalled."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import PenstockError
from penstock_shared.inner_tls import load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.settings import fail_start, load_settings
from penstock_worker.cluster import running_ray
from penstock_worker.fleet.first_state import prepare_state
from penstock_worker.ray_watch import wait_for_ray_death
from penstock_worker.settings import WorkerSettings

_OPTIONAL_PATHS = ("fleet_credential_file", "inner_tls_cert_file", "inner_tls_key_file", "inner_tls_ca_file")


def main() -> None:
    """Runs the worker. Exit code 0 after a drain; 1, with one line that says why, if it cannot serve."""
    settings = _resolved(load_settings(WorkerSettings))
    configure_logging("worker", settings.log_level, as_json=settings.log_json)
    with suppress(KeyboardInterrupt):
        try:
            _prepare(settings)
            with running_ray(settings):
                asyncio.run(_serve(settings))
        except (PenstockError, ConnectionError) as error:
            fail_start(str(error))


def _resolved(settings: WorkerSettings) -> WorkerSettings:
    """Other processes may run in another directory."""
    paths = {"model_dir": settings.model_dir.absolute(), "state_dir": settings.state_dir.absolute()}
    for name in _OPTIONAL_PATHS:
        path = getattr(settings, name)
        if path is not None:
            paths[name] = path.absolute()
    return settings.model_copy(update=paths)


def _prepare(settings: WorkerSettings) -> None:
    """Finds what would fail later while it is cheap to say so."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    if settings.fleet_credential_file is not None:
        FleetCredential.load(settings.fleet_credential_file)
    load_inner_tls(settings)
    prepare_state(settings)


async def _serve(settings: WorkerSettings) -> None:
    """Serves until the first SIGTERM or SIGINT, then drains; the second one ends the drain.

    Raises:
        PenstockError: it cannot serve, or no longer: Ray is gone.
    """
    from penstock_worker.fleet.driver import FleetDriver  # noqa: PLC0415 - imports ray, after its environment

    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    fleet = FleetDriver(settings)
    await _first_of(fleet.run(), signals.get(), wait_for_ray_death())
    get_logger("worker").info("draining", grace_s=settings.drain_grace_s)
    await _first_of(fleet.stop(settings.drain_grace_s), signals.get())


async def _first_of(*work: Coroutine[Any, Any, object]) -> None:
    """Waits for the first to end and cancels the others; raises what it raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    main()
