"""The Ray that fleet and replicas run on: a private one on loopback, or the cluster of RAY_ADDRESS."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock_worker.scratch import scratch_directory
from penstock_worker.settings import WorkerSettings

NAMESPACE = "penstock"
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # about Ray's least: no data passes through it
_AUTH_TOKEN_BYTES = 32
# Read when Ray is imported, and by its child processes.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PRIVATE_ENVIRONMENT = {
    # Named after the systems where this is the default. The node's address becomes 127.0.0.1, and then Ray's servers
    # listen there alone; otherwise they listen on every interface, whatever else they are told.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # One idle Python process a core, started for nothing.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def running_ray(settings: WorkerSettings) -> Iterator[None]:
    """Ray, connected; at the end a private one is shut down and gone. Logs of replicas come out on this process's.

    Nothing may have imported ray before.

    Raises:
        ConnectionError: no cluster answers at RAY_ADDRESS.
    """
    os.environ.update(_ENVIRONMENT)
    # Not below the state directory: Ray's socket paths must stay under 108 characters.
    with scratch_directory() as directory:
        where = _remote(settings.ray_address) if settings.ray_address else _private(settings, directory)
        import ray  # noqa: PLC0415 - after its environment

        ray.init(namespace=NAMESPACE, log_to_driver=True, configure_logging=False, **where)
        try:
            yield
        finally:
            ray.shutdown(wait_for_processes=True)


def _remote(address: str) -> dict[str, Any]:
    return {"address": address}


def _private(settings: WorkerSettings, directory: Path) -> dict[str, Any]:
    """A Ray of our own: loopback, no dashboard, its own token; gone with this process even if that is killed."""
    token_file = directory / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(_AUTH_TOKEN_BYTES))
    os.environ.update(_PRIVATE_ENVIRONMENT, RAY_AUTH_TOKEN_PATH=str(token_file))
    return {
        "address": "local",
        "include_dashboard": False,
        "num_cpus": settings.replicas * settings.num_threads,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_temp_dir": str(directory),
    }
