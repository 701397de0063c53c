"""Runs compose.yaml with the container engine that is there, under a project name of its own."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from penstock.local.ports import Ports, resolve_ports

ROOT = Path(__file__).parents[2]
SERVICES = ("gateway", "cache", "tokenizer", "fleet", "worker")
TAG = "test"
_BUILD_TIMEOUT_S = 3600
_COMMAND_TIMEOUT_S = 120
# Runs in a container: kills all but its first process, which ends with its child. Without a word it only ends.
_CRASH = """
import os, sys
print("armed", flush=True)
if sys.stdin.readline():
    os.kill(-1, 9)
"""
# Runs in the gateway's container, which may reach the fleet: prints each directory as a line.
_WATCH = """
import grpc
from google.protobuf import json_format
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
credential = open("/run/secrets/fleet_credential").read().strip()
stub = fleet_pb2_grpc.FleetServiceStub(grpc.insecure_channel("fleet:50054"))
shown = (("penstock-fleet-credential", credential),)
watch = stub.WatchReplicas(fleet_pb2.WatchReplicasRequest(), metadata=shown, timeout=300)
for response in watch:
    print(json_format.MessageToJson(response.directory, indent=None), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """The commands of a container engine.

    Attributes:
        program: docker or podman.
        build: the beginning of a build.
        compose: the beginning of a compose command.
    """

    program: str
    build: tuple[str, ...]
    compose: tuple[str, ...]

    @classmethod
    def find(cls) -> "Engine | None":
        """That of CONTAINER_COMPOSE and CONTAINER_BUILD, else Docker, else Podman; None where there is none."""
        compose = os.environ.get("CONTAINER_COMPOSE")
        if compose is not None:
            program = "docker" if compose.startswith("docker") else "podman"
        elif _succeeds("docker", "compose", "version"):
            program, compose = "docker", "docker compose"
        elif _succeeds("podman-compose", "--version"):
            program, compose = "podman", "podman-compose"
        else:
            return None
        build = os.environ.get("CONTAINER_BUILD", f"{program} build")
        return cls(program, tuple(shlex.split(build)), tuple(shlex.split(compose)))

    def run(self, *arguments: str) -> str:
        """What a command of the engine prints."""
        command = [self.program, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_COMMAND_TIMEOUT_S).stdout

    def build_images(self) -> None:
        """All images, one after another, with what they print."""
        for service in SERVICES:
            target = ["--target", service, "--tag", f"penstock-{service}:{TAG}"]
            index = ["--build-arg", "PIP_EXTRA_INDEX_URL"] if "PIP_EXTRA_INDEX_URL" in os.environ else []
            command = [*self.build, "--file", "deploy/docker/Dockerfile", *target, *index, "."]
            subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, timeout=_BUILD_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The containers of one project."""

    engine: Engine
    secrets: Path
    project: str = field(default_factory=lambda: f"penstock-test-{os.getpid()}")
    ports: Ports = field(default_factory=lambda: resolve_ports(Ports(0, 0, 0, 0, 0, 0), random.Random()))

    @property
    def address(self) -> str:
        """Where the gateway is published."""
        return f"127.0.0.1:{self.ports.gateway}"

    def compose(self, *arguments: str) -> None:
        """Runs a compose command."""
        environment = os.environ | {
            "PENSTOCK_HTTP_PORT": str(self.ports.http),
            "PENSTOCK_PORT": str(self.ports.gateway),
            "PENSTOCK_SECRETS": str(self.secrets),
            "PENSTOCK_TAG": TAG,
        }
        command = [*self.engine.compose, "-p", self.project, *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr, timeout=_COMMAND_TIMEOUT_S)

    def names(self, kind: str, *arguments: str) -> list[str]:
        """Names of the project's containers, networks or volumes."""
        project = f"label=com.docker.compose.project={self.project}"
        name = "{{.Names}}" if kind == "container" else "{{.Name}}"
        return self.engine.run(kind, "ls", "--filter", project, "--format", name, *arguments).split()

    def container(self, service: str) -> str:
        """The name of a service's only container."""
        separators = (f"_{service}_", f"-{service}-")
        (name,) = [name for name in self.names("container") if any(each in name for each in separators)]
        return name

    def worker_at(self, address: str) -> str:
        """The name of the container that has the host of `address`."""
        show = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        host = address.rpartition(":")[0]
        (name,) = [
            name for name in self.names("container") if self.engine.run("inspect", "-f", show, name).strip() == host
        ]
        return name

    @contextmanager
    def ready_to_crash(self, container: str) -> Iterator[Callable[[], None]]:
        """What it yields ends the container's processes at once, as a crash would."""
        command = [self.engine.program, "exec", "--interactive", container, "python", "-c", _CRASH]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as armed:
            assert armed.stdin is not None
            assert armed.stdout is not None
            assert armed.stdout.readline() == "armed\n"
            yield lambda: print("now", file=armed.stdin, flush=True)

    @contextmanager
    def replicas(self) -> Iterator[Iterator[dict[str, dict[str, object]]]]:
        """The fleet's replicas by name, now and at each change."""
        command = [self.engine.program, "exec", self.container("gateway"), "python", "-c", _WATCH]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            directories = (json.loads(line) for line in watch.stdout)
            try:
                yield ({each["replicaId"]: each for each in found.get("replicas", [])} for found in directories)
            finally:
                watch.kill()


def _succeeds(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
