"""What a node can be told, by environment variables that begin with PENSTOCK_NODE_."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings
from penstock_worker.settings import num_cores


class NodeSettings(ServiceSettings):
    """Settings of a node.

    Attributes:
        head: host:port of the Ray to join, the worker's PENSTOCK_WORKER_RAY_HEAD.
        ray_token_file: holds the token of that Ray.
        advertise_host: where the other nodes, and gateways, find this one; unless set, the address that faces the head.
        port: where the node itself listens, and answers health checks; 0 lets the system choose.
        num_cpus: how many CPUs it offers to replicas. GPUs are found.
    """

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_NODE_")

    head: str = Field(pattern=r"^.+:\d{1,5}$")
    ray_token_file: Path
    advertise_host: str | None = None
    port: int = Field(0, ge=0, le=65535)
    num_cpus: int = Field(default_factory=num_cores, ge=0)
