"""The Ray that fleet and replicas run on.

A private one on loopback; or the head of a cluster, which nodes join (`penstock_worker.node`); or that of RAY_ADDRESS.
"""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock_shared.errors import FailedPreconditionError, UnavailableError
from penstock_worker.addresses import split_address
from penstock_worker.scratch import scratch_directory
from penstock_worker.settings import WorkerSettings, num_cores

NAMESPACE = "penstock"
OBJECT_STORE_BYTES = 80 * 1024 * 1024  # about Ray's least: no data passes through it
_AUTH_TOKEN_BYTES = 32
# A private Ray says that it has so many times the CPUs: replicas that are added, or start in place of others, wait for
# each other's threads a little, where otherwise they would not start at all.
_ROOM = 2
# Read when Ray is imported, and by its child processes.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PRIVATE_ENVIRONMENT = {
    # Named after the systems where this is the default. The node's address becomes 127.0.0.1, and then Ray's servers
    # listen there alone; otherwise they listen on every interface, whatever else they are told.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # One idle Python process a core, started for nothing.
    "RAY_prestart_worker_first_driver": "0",
}


@contextmanager
def running_ray(settings: WorkerSettings) -> Iterator[None]:
    """Ray, connected; at the end a private one is shut down and gone. Logs of replicas come out on this process's.

    Nothing may have imported ray before.

    Raises:
        ConnectionError: no cluster answers at RAY_ADDRESS.
        UnavailableError: Ray does not start.
    """
    os.environ.update(ray_environment(settings.ray_token_file))
    # Not below the state directory: Ray's socket paths must stay under 108 characters.
    with scratch_directory() as directory:
        where = _where(settings, directory)
        import ray  # noqa: PLC0415 - after its environment

        try:
            ray.init(namespace=NAMESPACE, log_to_driver=True, configure_logging=False, **where)
        except ConnectionError:
            raise
        except Exception as error:
            raise UnavailableError(f"Ray could not be started: {error}") from error
        try:
            yield
        finally:
            ray.shutdown(wait_for_processes=True)


def ray_environment(token_file: Path | None) -> dict[str, str]:
    """For every process of ours that is part of a Ray; it proves itself with the token in the file.

    Raises:
        FailedPreconditionError: the file cannot be read or is empty.
    """
    if token_file is None:
        return _ENVIRONMENT
    try:
        is_empty = not token_file.read_text().strip()
    except OSError as error:
        raise FailedPreconditionError(f"Ray token {token_file}: {error.strerror}") from error
    if is_empty:
        raise FailedPreconditionError(f"Ray token {token_file}: empty")
    return _ENVIRONMENT | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file.absolute())}


def _where(settings: WorkerSettings, directory: Path) -> dict[str, Any]:
    """What tells `ray.init` which Ray to be part of."""
    if settings.ray_address is not None:
        return {"address": settings.ray_address}
    if settings.ray_head is not None:
        return _head(settings.ray_head, directory)
    return _private(settings, directory)


def _head(address: str, directory: Path) -> dict[str, Any]:
    """The first node of a cluster, without room for replicas: these go to the nodes that join."""
    host, port = split_address(address)
    try:
        node_address = socket.gethostbyname(host)
    except OSError as error:
        raise FailedPreconditionError(f"PENSTOCK_WORKER_RAY_HEAD: {host} is not known: {error.strerror}") from error
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    return _started_here(directory) | {"num_cpus": 0, "num_gpus": 0, "_node_ip_address": node_address}


def _private(settings: WorkerSettings, directory: Path) -> dict[str, Any]:
    """A Ray of our own: loopback, no dashboard, its own token; gone with this process even if that is killed."""
    token_file = directory / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(_AUTH_TOKEN_BYTES))
    os.environ.update(_PRIVATE_ENVIRONMENT | ray_environment(token_file))
    num_cpus = _ROOM * max(num_cores(), settings.num_cpus)
    return _started_here(directory) | {"num_cpus": num_cpus}


def _started_here(directory: Path) -> dict[str, Any]:
    return {
        "address": "local",
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_temp_dir": str(directory),
    }
