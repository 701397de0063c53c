"""A small real process in place of a service: healthy on its port, ended by SIGTERM.

FAKE_SERVICES holds JSON: service name to behaviour.
    say, exit_code: say a line on standard error and end at once.
    starts_once: true: every start but the first one ends at once.
    is_ready: false: listens and is never healthy.
    ignores_sigterm: true: has to be killed.
    leaves_daemon: true: starts a process in a session of its own, as Ray does.
The services note what they do in `events` of the state directory.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_DRAIN_LIMIT_S = 60.0  # longer than a supervisor waits: whoever keeps a stream open in a drain is found out


def behaviour(name: str) -> dict[str, Any]:
    """What a test wants of the service called `name`."""
    found: dict[str, Any] = json.loads(os.environ.get("FAKE_SERVICES", "{}")).get(name, {})
    return found


def serve(name: str, *binds: str, add_to: Callable[[grpc.Server], None] | None = None) -> None:
    """Serves at `binds` until SIGTERM.

    Blocked from the first on and waited for: a handler's flag is missed by a thread that is just about to sleep.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    wanted = behaviour(name)
    if "say" in wanted:
        print(wanted["say"], file=sys.stderr)  # noqa: T201 - what a service does
        raise SystemExit(wanted.get("exit_code", 1))
    if wanted.get("starts_once") and f"{name} started" in noted():
        print("error: once was enough", file=sys.stderr)  # noqa: T201 - what a service does
        raise SystemExit(1)
    if wanted.get("leaves_daemon"):
        daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        note(f"{name} daemon {daemon.pid}")
    server = grpc.server(ThreadPoolExecutor(16))
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if add_to is not None:
        add_to(server)
    for bind in binds:
        server.add_insecure_port(bind)
    server.start()
    status = health_pb2.HealthCheckResponse
    checks.set("", status.SERVING if wanted.get("is_ready", True) else status.NOT_SERVING)
    note(f"{name} started")
    signal.sigwait([signal.SIGTERM])
    while wanted.get("ignores_sigterm"):
        signal.sigwait([signal.SIGTERM])
    note(f"{name} stopping")
    server.stop(_DRAIN_LIMIT_S).wait()
    note(f"{name} stopped")


def note(line: str) -> None:
    """Appends a line to the events."""
    with _events().open("a") as events:
        events.write(f"{line}\n")


def noted() -> list[str]:
    """The events so far."""
    return _events().read_text().splitlines() if _events().exists() else []


def _events() -> Path:
    return Path(os.environ["PENSTOCK_STATE_DIR"]) / "events"
