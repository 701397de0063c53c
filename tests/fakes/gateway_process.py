"""`python -m penstock_gateway` in a process of its own, with nothing behind it."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

_LINE_TIMEOUT_S = 60


class GatewayProcess:
    """A gateway that was started.

    Attributes:
        address: host:port of its gRPC server, once `wait_for("listening")` has returned.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "penstock_gateway"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.address = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of its log that tells of `event`."""
        while True:
            line = self._lines.get(timeout=_LINE_TIMEOUT_S)
            assert line, "the gateway ended"
            told: dict[str, Any] = json.loads(line) if line.startswith("{") else {"event": line}
            if told["event"] == event:
                return told

    def memory_bytes(self) -> int:
        """What it occupies now."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


@contextmanager
def gateway_process(state_dir: Path, **settings: str) -> Iterator[GatewayProcess]:
    """A gateway that listens, with these settings (named without PENSTOCK_GATEWAY_)."""
    variables = {"BIND": "127.0.0.1:0", "HTTP_BIND": "127.0.0.1:0", "ADMIN_BIND": "127.0.0.1:0"} | settings
    gateway = GatewayProcess(
        {
            "PATH": "",
            "PYTHONPATH": ":".join(sys.path),
            "PENSTOCK_STATE_DIR": str(state_dir),
            "PENSTOCK_LOG_JSON": "true",
            **{f"PENSTOCK_GATEWAY_{name}": value for name, value in variables.items()},
        }
    )
    try:
        gateway.address = gateway.wait_for("listening")["address"]
        yield gateway
    finally:
        gateway.end()
