"""Which processes a stack has, and what each is told. Pure: settings in, processes out."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock.local.paths import StateDir
from penstock.local.ports import HOST, Ports
from penstock.local.settings import StackSettings


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running.

    Attributes:
        name: of the service; of its log too.
        command: program and arguments.
        environment: set on top of the supervisor's own.
        address: host:port of its gRPC server.
        health_address: host:port of the gRPC server that says whether it is ready.
        stop_rank: lower ranks are stopped first, and are gone before the next begin.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str
    health_address: str
    stop_rank: int = 0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a stack listen, as host:port."""

    gateway: str
    http: str
    cache: str
    tokenizer: str
    fleet: str
    admin: str

    @classmethod
    def on_loopback(cls, ports: Ports) -> "Addresses":
        """Those of a local stack."""
        return cls(
            gateway=f"{HOST}:{ports.gateway}",
            http=f"{HOST}:{ports.http}",
            cache=f"{HOST}:{ports.cache}",
            tokenizer=f"{HOST}:{ports.tokenizer}",
            fleet=f"{HOST}:{ports.fleet}",
            admin=f"{HOST}:{ports.admin}",
        )


def plan(settings: StackSettings, addresses: Addresses) -> tuple[ProcessSpec, ...]:
    """The processes of a stack. They bear any order of starting; the gateway stops first, for it uses all others."""
    common = _common(settings)
    cache = {"PENSTOCK_CACHE_BIND": addresses.cache}
    return (
        _service("cache", addresses.cache, common | cache, stop_rank=1),
        _service("tokenizer", addresses.tokenizer, common | _tokenizer(settings, addresses), stop_rank=1),
        _service("worker", addresses.fleet, common | _worker(settings, addresses), stop_rank=1),
        # Asked at the door for operators: the one for clients may want certificates.
        replace(
            _service("gateway", addresses.gateway, common | _gateway(settings, addresses), stop_rank=0),
            health_address=addresses.admin,
        ),
    )


def _service(name: str, address: str, environment: dict[str, str], *, stop_rank: int) -> ProcessSpec:
    # -P: a folder named like ours in the current directory must not be imported in its place.
    command = (sys.executable, "-P", "-m", f"penstock_{name}")
    return ProcessSpec(name, command, environment, address, health_address=address, stop_rank=stop_rank)


def _common(settings: StackSettings) -> dict[str, str]:
    variables = {
        "PENSTOCK_STATE_DIR": str(settings.state_dir),
        "PENSTOCK_FLEET_CREDENTIAL_FILE": str(StateDir(settings.state_dir).credential_file),
    }
    if settings.otlp_endpoint is not None:
        variables["PENSTOCK_OTLP_ENDPOINT"] = settings.otlp_endpoint
    return variables


def _tokenizer(settings: StackSettings, addresses: Addresses) -> dict[str, str]:
    return {
        "PENSTOCK_TOKENIZER_BIND": addresses.tokenizer,
        # Known beforehand, so that it loads while Ray starts; models of later on come from the fleet.
        "PENSTOCK_TOKENIZER_MODELS": json.dumps({settings.model_name: str(settings.model_dir)}),
        "PENSTOCK_TOKENIZER_FLEET_ADDRESS": addresses.fleet,
    }


def _worker(settings: StackSettings, addresses: Addresses) -> dict[str, str]:
    optional = {} if settings.has_prefix_cache else {"PENSTOCK_WORKER_PREFIX_CACHE": "false"}
    if settings.is_deterministic:
        optional["PENSTOCK_WORKER_DETERMINISTIC"] = "true"
    if settings.adapters:
        adapters = {name: str(path) for name, path in settings.adapters.items()}
        optional["PENSTOCK_WORKER_ADAPTERS"] = json.dumps(adapters)
    return optional | {
        "PENSTOCK_WORKER_FLEET_BIND": addresses.fleet,
        "PENSTOCK_WORKER_MODEL_DIR": str(settings.model_dir),
        "PENSTOCK_WORKER_MODEL_NAME": settings.model_name,
        "PENSTOCK_WORKER_REPLICAS": str(settings.num_replicas),
        "PENSTOCK_WORKER_TENSOR_PARALLEL": str(settings.tensor_parallel),
        "PENSTOCK_WORKER_PIPELINE_PARALLEL": str(settings.pipeline_parallel),
        "PENSTOCK_WORKER_DEVICE": settings.device,
        "PENSTOCK_WORKER_DTYPE": settings.dtype,
        "PENSTOCK_WORKER_QUANTIZE": settings.quantize,
        "PENSTOCK_WORKER_SPECULATE": settings.speculate,
    }


def _gateway(settings: StackSettings, addresses: Addresses) -> dict[str, str]:
    tls = {
        "PENSTOCK_GATEWAY_TLS_CERT_FILE": settings.tls_cert,
        "PENSTOCK_GATEWAY_TLS_KEY_FILE": settings.tls_key,
        "PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE": settings.tls_client_ca,
    }
    return {name: str(path) for name, path in tls.items() if path is not None} | {
        "PENSTOCK_GATEWAY_BIND": addresses.gateway,
        "PENSTOCK_GATEWAY_HTTP_BIND": addresses.http,
        "PENSTOCK_GATEWAY_ADMIN_BIND": addresses.admin,
        "PENSTOCK_GATEWAY_CACHE_ADDRESS": addresses.cache,
        "PENSTOCK_GATEWAY_TOKENIZER_ADDRESS": addresses.tokenizer,
        "PENSTOCK_GATEWAY_FLEET_ADDRESS": addresses.fleet,
    }
