"""What a replica tells the fleet about itself. Needs no torch: the fleet reads it."""

import os
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A started process of a replica. The incarnation differs at each start; the node is Ray's name for its host."""

    pid: int
    incarnation: int
    node_id: str = ""

    @classmethod
    def here(cls) -> "ProcessInfo":
        """This process, an actor's; outside of Ray, which would start one where it is asked, it has no node."""
        import ray  # noqa: PLC0415 - this process's environment is Ray's to make

        node_id: str = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        return cls(os.getpid(), time.time_ns(), node_id)


@dataclass(frozen=True, slots=True)
class Registration:
    """A replica that serves.

    Attributes:
        address: host:port where gateways reach it.
        revision: of the weights it loaded.
        tokenizer_fingerprint: of the checkpoint it loaded.
        numerics_fingerprint: replicas with equal ones continue each other byte for byte.
        plan: its memory plan, for the operator.
    """

    address: str
    revision: str
    tokenizer_fingerprint: str
    numerics_fingerprint: str
    plan: str


class NotLoadedError(Exception):
    """The process has loaded no model: expected, Ray has just started it in place of one that died."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Loading failed.

    Attributes:
        message: why.
        is_passing: another attempt may succeed, as after a lack of memory; else it would meet the same again.
    """

    message: str
    is_passing: bool = False
