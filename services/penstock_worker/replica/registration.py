"""What a replica tells the fleet about itself. Needs no torch: the fleet reads it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A started leader process. The incarnation differs at each start."""

    pid: int
    incarnation: int


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
