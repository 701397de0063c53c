"""`penstock status`: what runs, asked of the processes themselves."""

import json
import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

from penstock.client.channel import channel_options
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock.local.state import ServiceState, StackState
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import PenstockError

_ASK_TIMEOUT_S = 2.0
_STATE_PREFIX = "REPLICA_STATE_"


def run_status(state_dir: StateDir, *, as_json: bool) -> None:
    """Prints the stack of `state_dir`.

    Raises:
        NotRunningError: there is none.
    """
    report = describe(running_stack(state_dir), state_dir)
    if as_json:
        print(json.dumps(report))  # noqa: T201 - the command's result
    else:
        _draw(report)


def describe(state: StackState, state_dir: StateDir) -> dict[str, Any]:
    """Everything there is to tell, ready for JSON. Health and replicas are asked for now, not taken from the record."""
    now = time.time()
    services = [_service(service, now) for service in state.services]
    replicas = _replicas(state, state_dir)
    is_serving = any(service["name"] == "gateway" and service["health"] == "serving" for service in services)
    return {
        "phase": state.phase,
        "is_serving": is_serving,
        "model": {"name": state.model_name, "dir": state.model_dir},
        "addresses": {
            "gateway": state.addresses.gateway,
            "http": state.addresses.http,
            "cache": state.addresses.cache,
            "tokenizer": state.addresses.tokenizer,
            "fleet": state.addresses.fleet,
            "admin": state.addresses.admin,
        },
        "tls_cert": state.tls_cert,
        "supervisor": {"pid": state.supervisor.pid, "uptime_s": round(now - state.started_at, 1)},
        "services": services,
        "replicas": replicas,
        "state_dir": str(state_dir.path),
        "otlp_endpoint": state.otlp_endpoint,
    }


def _service(service: ServiceState, now: float) -> dict[str, Any]:
    return {
        "name": service.name,
        "pid": service.process.pid if service.process else None,
        "stage": service.stage,
        "health": _health(service.health_address or service.address),
        "address": service.address,
        "uptime_s": round(now - service.started_at, 1) if service.started_at else None,
        "restarts": service.num_restarts,
        "next_try_s": round(max(0.0, service.next_try_at - now), 1) if service.next_try_at else None,
        "detail": service.detail,
    }


def _health(address: str) -> str:
    with grpc.insecure_channel(address, options=channel_options(address)) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=_ASK_TIMEOUT_S)
        except grpc.RpcError as error:
            return "unreachable" if error.code() is grpc.StatusCode.UNAVAILABLE else error.code().name.lower()
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)).lower()


def _replicas(state: StackState, state_dir: StateDir) -> list[dict[str, Any]] | None:
    """The fleet's replicas; None where it cannot be asked."""
    address = state.addresses.fleet
    with grpc.insecure_channel(address, options=channel_options(address)) as channel:
        try:
            credential = FleetCredential.load(state_dir.credential_file)
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            response = stub.GetFleet(
                fleet_pb2.GetFleetRequest(), timeout=_ASK_TIMEOUT_S, metadata=credential.metadata()
            )
        except (grpc.RpcError, PenstockError):
            return None
    return [_replica(replica) for replica in response.directory.replicas]


def _replica(replica: fleet_pb2.Replica) -> dict[str, Any]:
    return {
        "id": replica.replica_id,
        "model": replica.model,
        "state": fleet_pb2.ReplicaState.Name(replica.state).removeprefix(_STATE_PREFIX).lower(),
        "address": replica.address,
        "pid": replica.pid or None,
        "numerics": replica.numerics_fingerprint or None,
        "incarnation": replica.incarnation,
        "restarts": replica.num_restarts,
        "detail": replica.detail,
    }


def _draw(report: dict[str, Any]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    supervisor = report["supervisor"]
    console.print(
        f"{report['phase']}, {'serving' if report['is_serving'] else 'not serving'} {report['model']['name']} "
        f"at {report['addresses']['gateway']}, admin at {report['addresses']['admin']}; "
        f"up {supervisor['uptime_s']:.0f} s, supervisor pid {supervisor['pid']}\n"
    )
    services = _table("service", "pid", "stage", "health", "address", "up s", "restarts", "detail")
    for service in report["services"]:
        services.add_row(*(_cell(value) for value in _with_next_try(service).values()))
    console.print(services)
    if report["replicas"] is None:
        console.print("\nthe fleet cannot be asked for its replicas")
        return
    replicas = _table("replica", "model", "state", "address", "pid", "precision", "restarts", "detail")
    for replica in report["replicas"]:
        replicas.add_row(*(_cell(value) for value in _for_people(replica).values()))
    console.print("", replicas)


def _with_next_try(service: dict[str, Any]) -> dict[str, Any]:
    """The next try, for people, as a part of the detail."""
    shown = dict(service)
    next_try_s = shown.pop("next_try_s")
    return shown if next_try_s is None else shown | {"detail": f"{shown['detail']}; next try in {next_try_s:.0f} s"}


def _for_people(replica: dict[str, Any]) -> dict[str, Any]:
    """Without what is for programs, and of the numerics only dtype and quantization: the rest hardly differs."""
    shown = {name: value for name, value in replica.items() if name != "incarnation"}
    parts = (replica["numerics"] or "").split("/")
    shown["numerics"] = parts[1] if len(parts) > 1 else None
    return shown


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
