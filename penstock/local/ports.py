"""Ports of a stack: taken ones are told before anything starts, 0 means a free one."""

import random
import socket
from dataclasses import dataclass, replace

from penstock.local.errors import LocalError

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: a port chosen here stays free until its
# service, which may need seconds to get there, listens.
_CHOICE = range(20_000, 32_000)
_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack; 0: to be chosen."""

    gateway: int = 50051
    http: int = 8080
    cache: int = 50052
    tokenizer: int = 50053
    fleet: int = 50054
    admin: int = 50055


def resolve_ports(ports: Ports, randomness: random.Random) -> Ports:
    """The same with every 0 replaced by a free port.

    Raises:
        LocalError: a port is taken, or given twice; names the port and the flag.
    """
    chosen: dict[str, int] = {}
    for name in Ports.__dataclass_fields__:
        port: int = getattr(ports, name)
        if port in chosen.values():
            raise LocalError(f"port {port} is given twice; choose another with --{name}-port")
        if port and not is_free(port):
            raise LocalError(f"port {port} is taken; choose another with --{name}-port (0: any free one)")
        chosen[name] = port or _free_port(chosen, randomness)
    return replace(ports, **chosen)


def is_free(port: int) -> bool:
    """Whether a server could listen at `port` on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(chosen: dict[str, int], randomness: random.Random) -> int:
    for _ in range(_ATTEMPTS):
        port = randomness.choice(_CHOICE)
        if port not in chosen.values() and is_free(port):
            return port
    raise LocalError(f"found no free port between {_CHOICE.start} and {_CHOICE.stop}")
