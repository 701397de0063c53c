"""Hosts to listen on are not always hosts to be found at."""

import socket

import pytest

from penstock_worker.addresses import address_facing, advertised_host, is_loopback, split_address


@pytest.mark.parametrize(
    ("bind_host", "node_address", "expected"),
    [
        ("127.0.0.1", "10.0.0.7", "127.0.0.1"),
        ("10.0.0.9", "10.0.0.7", "10.0.0.9"),
        ("replica.internal", "10.0.0.7", "replica.internal"),
        ("0.0.0.0", "10.0.0.7", "10.0.0.7"),
        ("[::]", "10.0.0.7", "10.0.0.7"),
        ("[::]", "fd00::7", "[fd00::7]"),
    ],
)
def test_who_listens_everywhere_is_found_at_its_node(bind_host: str, node_address: str, expected: str) -> None:
    """0.0.0.0 is no place that a gateway on another host could connect to."""
    assert advertised_host(bind_host, node_address) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.9", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("10.0.0.7", False),
        ("worker", False),
    ],
)
def test_loopback_is_known_by_number_and_by_name(host: str, expected: bool) -> None:
    """Replicas there are out of reach for other hosts."""
    assert is_loopback(host) is expected


def test_the_address_that_faces_a_listener_is_the_one_it_sees() -> None:
    """A node tells it to the others, who must be able to come back to it."""
    with socket.create_server(("127.0.0.3", 0)) as listener:
        assert address_facing(*listener.getsockname()) == "127.0.0.1"
        connection, seen = listener.accept()
        connection.close()
        assert seen[0] == "127.0.0.1"


def test_nobody_listening_is_an_error() -> None:
    """The caller decides whether to wait."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    with pytest.raises(OSError, match="refused"):
        address_facing(host, port)


@pytest.mark.parametrize(("address", "expected"), [("fleet:6379", ("fleet", 6379)), ("[fd00::7]:80", ("fd00::7", 80))])
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    """The last colon is the one before the port."""
    assert split_address(address) == expected
