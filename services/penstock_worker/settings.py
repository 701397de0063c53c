"""Settings of the worker: fleet and replicas, from the environment."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings
from penstock_worker.addresses import is_loopback

_BIND = r"^.+:\d{1,5}$"
MODEL_NAME = r"^[A-Za-z0-9._/-]{1,128}$"


class WorkerSettings(ServiceSettings):
    """What an operator may set; variables are `PENSTOCK_WORKER_<FIELD>`."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", env_prefix="PENSTOCK_WORKER_", protected_namespaces=()
    )

    fleet_bind: str = Field("127.0.0.1:50054", pattern=_BIND)
    # Where replicas listen, on ports that the system chooses, and where gateways are told to find them; unless set,
    # where they listen. Who listens everywhere is found at the address of its Ray node.
    replica_host: str = "127.0.0.1"
    replica_advertise_host: str | None = None
    model_dir: Path
    model_name: str = Field(pattern=MODEL_NAME)
    replicas: int = Field(2, ge=1, le=1024)
    threads_per_replica: int | None = Field(None, ge=1)
    # Processes that share each layer, and stages of layers: a replica is so many times so many processes.
    tensor_parallel: int = Field(1, ge=1, le=64)
    pipeline_parallel: int = Field(1, ge=1, le=64)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal["none", "int8", "int4"] = "none"
    kv_memory_bytes: int | None = Field(None, gt=0)
    max_running_sequences: int = Field(64, ge=1)
    max_step_tokens: int = Field(2048, ge=1)
    block_size: int = Field(16, ge=1)
    prefix_cache: bool = True
    # Loaded at the start: every folder in `adapters_dir` that holds an adapter, by its own name, and these, by name.
    adapters_dir: Path | None = None
    adapters: dict[str, Path] = Field(default_factory=dict)
    # "off", "prompt-lookup", or the directory of a smaller checkpoint with the same tokenizer.
    speculate: str = Field("off", min_length=1)
    # Of every draft. Unless set, drafts are as long as pays.
    draft_tokens: int | None = Field(None, ge=1, le=8)
    deterministic: bool = False
    ray_address: str | None = Field(None, validation_alias="RAY_ADDRESS")
    # What nodes of the same Ray prove themselves with.
    ray_token_file: Path | None = None
    # host:port of this machine where nodes join the Ray of this process. Unless set, it is private, on loopback.
    ray_head: str | None = Field(None, pattern=_BIND)

    @field_validator("ray_head")
    @classmethod
    def _check_ray_head(cls, ray_head: str | None, others: ValidationInfo) -> str | None:
        """Ray then listens on every interface, and whoever may speak to it may run code."""
        found = others.data
        if ray_head is None:
            return None
        if found.get("ray_address") is not None:
            raise ValueError("RAY_ADDRESS names another Ray: set one of the two")
        if found.get("ray_token_file") is None:
            raise ValueError("needs PENSTOCK_WORKER_RAY_TOKEN_FILE")
        if is_loopback(found.get("replica_advertise_host") or found.get("replica_host", "")):
            raise ValueError("replicas on other nodes cannot be reached on loopback: set PENSTOCK_WORKER_REPLICA_HOST")
        return ray_head

    @property
    def num_threads(self) -> int:
        """CPU threads of each replica: the cores shared out, where not set."""
        return self.threads_per_replica or max(1, num_cores() // self.replicas)

    @property
    def num_shards(self) -> int:
        """Processes of each replica."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def num_threads_per_shard(self) -> int:
        """CPU threads of each process of a replica."""
        return max(1, self.num_threads // self.num_shards)

    @property
    def num_cpus(self) -> int:
        """CPU threads of all replicas."""
        return self.replicas * self.num_shards * self.num_threads_per_shard


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
