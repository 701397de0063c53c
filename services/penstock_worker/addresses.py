"""Hosts to listen on, and hosts to be found at."""

import ipaddress
import socket

_CONNECT_TIMEOUT_S = 2.0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    address = _numeric(host)
    return host == "localhost" if address is None else address.is_loopback


def advertised_host(bind_host: str, node_address: str) -> str:
    """Where to find a server that listens on `bind_host` of the node that others know as `node_address`."""
    address = _numeric(bind_host)
    if address is None or not address.is_unspecified:
        return bind_host
    return f"[{node_address}]" if ":" in node_address else node_address


def split_address(address: str) -> tuple[str, int]:
    """Host and port of host:port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def address_facing(host: str, port: int) -> str:
    """The address under which this machine speaks to host:port.

    Raises:
        OSError: nobody listens there, or the name is unknown.
    """
    with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S) as connection:
        return str(connection.getsockname()[0])


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`host` as an address; None where it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
