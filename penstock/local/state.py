"""What a stack is doing, as plain values. They are what `stack.json` holds and what a detached start reports."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from penstock.local.plan import Addresses
from penstock.local.process_id import ProcessId


class Phase(StrEnum):
    """Where the whole stack is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Stage(StrEnum):
    """Where one service is."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"  # runs, and says that it cannot serve now
    RESTARTING = "restarting"  # died; waits to be started again
    STOPPING = "stopping"  # drains
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service.

    Attributes:
        name: of the service.
        address: host:port of its gRPC server.
        stage: where it is.
        process: the one that runs now.
        started_at: when that one was started, seconds since the epoch.
        since: when it came to this stage, seconds since the epoch.
        num_restarts: how often it was started again.
        detail: why it was.
        next_try_at: when it is started again, seconds since the epoch; where it waits for that.
        health_address: host:port of the gRPC server that says whether it is ready, where that is not `address`.
    """

    name: str
    address: str
    stage: Stage
    since: float
    process: ProcessId | None = None
    started_at: float | None = None
    num_restarts: int = 0
    detail: str = ""
    next_try_at: float | None = None
    health_address: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as the fleet tells it.

    `stage` is the lower-case name of its `ReplicaState`, `since` when it was first seen there, seconds since the epoch.
    """

    replica_id: str
    stage: str
    since: float
    address: str
    pid: int
    incarnation: int
    num_restarts: int
    detail: str


@dataclass(frozen=True, slots=True)
class StackState:
    """The whole stack.

    Attributes:
        phase: where it is.
        supervisor: the process that keeps it running.
        started_at: seconds since the epoch.
        model_name: of the model that it serves.
        model_dir: of that model.
        num_replicas: how many are wanted.
        addresses: where its parts listen.
        services: in the order of the plan.
        replicas: as far as the fleet has told.
        tls_cert: the certificate of the gateway's door for clients; None: plaintext.
        otlp_endpoint: where its spans go.
    """

    phase: Phase
    supervisor: ProcessId
    started_at: float
    model_name: str
    model_dir: str
    num_replicas: int
    addresses: Addresses
    services: tuple[ServiceState, ...] = ()
    replicas: tuple[ReplicaView, ...] = ()
    tls_cert: str | None = None
    otlp_endpoint: str | None = None

    @property
    def can_serve(self) -> bool:
        """Whether every service is ready and every wanted replica takes work."""
        num_ready = sum(replica.stage == "ready" for replica in self.replicas)
        return all(service.stage is Stage.READY for service in self.services) and num_ready >= self.num_replicas

    @property
    def waits_for(self) -> str:
        """What is not ready yet, in words."""
        services = [f"{service.name} ({service.stage})" for service in self.services if service.stage != Stage.READY]
        replicas = [
            f"{replica.replica_id} ({replica.stage}{', ' if replica.detail else ''}{replica.detail})"
            for replica in self.replicas
            if replica.stage != "ready"
        ]
        return ", ".join(services + replicas) or "replicas"

    def service(self, name: str) -> ServiceState:
        """The service of that name."""
        return next(service for service in self.services if service.name == name)

    def with_service(self, service: ServiceState) -> "StackState":
        """The same with one service's state replaced."""
        services = tuple(service if old.name == service.name else old for old in self.services)
        return replace(self, services=services)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "StackState":
        """The reverse of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        fields |= {
            "phase": Phase(fields["phase"]),
            "supervisor": ProcessId(**fields["supervisor"]),
            "addresses": Addresses(**fields["addresses"]),
            "services": tuple(_service(service) for service in fields["services"]),
            "replicas": tuple(ReplicaView(**replica) for replica in fields["replicas"]),
        }
        return cls(**fields)


def _service(fields: Mapping[str, Any]) -> ServiceState:
    process = fields["process"]
    return ServiceState(
        **{**fields, "stage": Stage(fields["stage"]), "process": None if process is None else ProcessId(**process)}
    )
