"""Settings of the worker: fleet and replicas, from the environment."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings

_BIND = r"^.+:\d{1,5}$"
_MODEL_NAME = r"^[A-Za-z0-9._/-]{1,128}$"


class WorkerSettings(ServiceSettings):
    """What an operator may set; variables are `PENSTOCK_WORKER_<FIELD>`."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", env_prefix="PENSTOCK_WORKER_", protected_namespaces=()
    )

    fleet_bind: str = Field("127.0.0.1:50054", pattern=_BIND)
    # Where replicas listen, on ports that the system chooses, and where gateways are told to find them.
    replica_host: str = "127.0.0.1"
    replica_advertise_host: str | None = None
    model_dir: Path
    model_name: str = Field(pattern=_MODEL_NAME)
    replicas: int = Field(2, ge=1, le=1024)
    threads_per_replica: int | None = Field(None, ge=1)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    kv_memory_bytes: int | None = Field(None, gt=0)
    max_running_sequences: int = Field(64, ge=1)
    max_step_tokens: int = Field(2048, ge=1)
    block_size: int = Field(16, ge=1)
    ray_address: str | None = Field(None, validation_alias="RAY_ADDRESS")

    @property
    def num_threads(self) -> int:
        """CPU threads of each replica: the cores shared out, where not set."""
        return self.threads_per_replica or max(1, num_cores() // self.replicas)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
