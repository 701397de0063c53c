"""Starts the whole stack as a user does, on free ports and a state directory of its own, and looks into it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from penstock import Client
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.credentials import FleetCredential

_START_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack under test."""

    state_dir: Path
    status: dict[str, Any]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a `penstock` command against this stack."""
        return run_cli(self.state_dir, *arguments)

    def read_status(self) -> dict[str, Any]:
        """What `penstock status` tells now."""
        told: dict[str, Any] = json.loads(self.cli("status", "--json").stdout)
        return told

    @property
    def gateway_address(self) -> str:
        """Where clients call."""
        return self.status["addresses"]["gateway"]

    def client(self) -> Client:
        """A client of its gateway."""
        return Client(self.gateway_address)

    def replicas(self) -> list[fleet_pb2.Replica]:
        """The fleet's replicas now."""
        with self._inner(self.status["addresses"]["fleet"]) as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            answer = stub.GetFleet(fleet_pb2.GetFleetRequest(), metadata=self._credential(), timeout=10)
        return list(answer.directory.replicas)

    def wait_for_replicas(self, condition: Callable[[list[fleet_pb2.Replica]], bool], timeout_s: float = 60) -> None:
        """Follows the fleet's directory until it satisfies `condition`."""
        with self._inner(self.status["addresses"]["fleet"]) as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            watch = stub.WatchReplicas(fleet_pb2.WatchReplicasRequest(), metadata=self._credential(), timeout=timeout_s)
            for response in watch:
                if condition(list(response.directory.replicas)):
                    return

    def worker_stats(self, address: str) -> worker_pb2.GetStatsResponse:
        """Counters of one replica's engine."""
        with self._inner(address) as channel:
            stub = worker_pb2_grpc.WorkerServiceStub(channel)
            return stub.GetStats(worker_pb2.GetStatsRequest(), metadata=self._credential(), timeout=10)

    def _inner(self, address: str) -> grpc.Channel:
        return grpc.insecure_channel(address)

    def _credential(self) -> tuple[tuple[str, str], ...]:
        return FleetCredential.load(self.state_dir / "fleet.credential").metadata()


def free_ports() -> list[str]:
    """Options of `penstock up` for a stack beside others."""
    return [f"--{name}-port=0" for name in ("gateway", "http", "admin", "cache", "tokenizer", "fleet")]


def run_cli(state_dir: Path, *arguments: str, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    """Runs the `penstock` command of this environment. The cache loads no encoder, unless a test says so."""
    command = [str(Path(sys.executable).with_name("penstock")), *arguments, "--state-dir", str(state_dir)]
    environment = {"PENSTOCK_CACHE_SEMANTIC": "0"} | os.environ
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextmanager
def running_stack(state_dir: Path, *up_arguments: str) -> Iterator[RunningStack]:
    """`penstock up --detach`, and `penstock down` at the end whatever happens."""
    arguments = ("up", "--detach", *free_ports(), f"--timeout={_START_TIMEOUT_S}", *up_arguments)
    try:
        started = run_cli(state_dir, *arguments)
        assert started.returncode == 0, f"{started.stdout}\n{started.stderr}\n{_logs(state_dir)}"
        status = run_cli(state_dir, "status", "--json")
        yield RunningStack(state_dir, json.loads(status.stdout))
    finally:
        run_cli(state_dir, "down")


def _logs(state_dir: Path) -> str:
    return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted((state_dir / "logs").glob("*")))
