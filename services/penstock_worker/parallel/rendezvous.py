"""Where the shards of a replica find their leader, and how it knows them."""

import hmac
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.addresses import split_address
from penstock_worker.parallel.connection import Connection, ConnectionLostError, Kind

_NONCE_BYTES = 32
_PURPOSES = ("work", "lifeline")
# Strangers may not hold the door.
_HELLO_LIMIT_S = 2.0
_CONNECT_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a shard needs to join.

    Attributes:
        address: host:port of the leader.
        secret: proves that it was invited; stays out of logs.
    """

    address: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A shard that has joined.

    Attributes:
        host: names its host; equal where memory can be shared.
        work: plans and answers.
        lifeline: see `Lifeline`.
    """

    host: str
    work: Connection
    lifeline: Connection


class Rendezvous:
    """The leader's door: open until all shards are in.

    Args:
        host: to listen on, at a port that the system chooses.
        advertised_host: where shards of other hosts find it.
    """

    def __init__(self, host: str, advertised_host: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._door = socket.create_server((host.strip("[]"), 0), family=family)
        self._secret = secrets.token_hex(_NONCE_BYTES)
        self.invitation = Invitation(f"{advertised_host or host}:{self._door.getsockname()[1]}", self._secret)

    def admit(self, ranks: Iterable[int], *, limit_s: float) -> dict[int, Member]:
        """Waits for the shards of these ranks and closes the door.

        Raises:
            FailedPreconditionError: some did not come in time; names them.
        """
        wanted = {(rank, purpose) for rank in ranks for purpose in _PURPOSES}
        found: dict[tuple[int, str], tuple[str, Connection]] = {}
        with self._door as door:
            door.settimeout(limit_s)
            while wanted - found.keys():
                try:
                    stream, _ = door.accept()
                except TimeoutError:
                    absent = ", ".join(str(rank) for rank in sorted({rank for rank, _ in wanted - found.keys()}))
                    raise FailedPreconditionError(f"no word of shards {absent} within {limit_s:.0f} s") from None
                self._greet(stream, wanted, found)
        members = {rank for rank, _ in wanted}
        return {
            rank: Member(found[rank, "work"][0], found[rank, "work"][1], found[rank, "lifeline"][1]) for rank in members
        }

    def _greet(
        self,
        stream: socket.socket,
        wanted: set[tuple[int, str]],
        found: dict[tuple[int, str], tuple[str, Connection]],
    ) -> None:
        """Takes a caller in that is wanted and knows the secret; drops any other one."""
        stream.settimeout(_HELLO_LIMIT_S)
        connection, nonce = Connection(stream), secrets.token_bytes(_NONCE_BYTES)
        try:
            connection.send(Kind.HELLO, nonce)
            _, hello = connection.expect(Kind.HELLO)
            key = (hello["rank"], hello["purpose"])
            if key in wanted - found.keys() and hmac.compare_digest(hello["proof"], _proof(self._secret, nonce, *key)):
                connection.set_timeout(None)
                found[key] = (hello["host"], connection)
                return
        except (ConnectionLostError, ValueError, KeyError, TypeError):
            pass
        connection.close()


def join(invitation: Invitation, rank: int) -> Member:
    """The shard's side of `Rendezvous.admit`.

    Raises:
        ConnectionLostError: the leader is not there, or does not want it.
    """
    host = host_name()
    work, lifeline = (_call(invitation, rank, purpose, host) for purpose in _PURPOSES)
    return Member(host, work, lifeline)


def host_name() -> str:
    """Equal for processes that see each other under /proc, and can share memory."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def _call(invitation: Invitation, rank: int, purpose: str, host: str) -> Connection:
    try:
        stream = socket.create_connection(split_address(invitation.address), timeout=_CONNECT_LIMIT_S)
    except OSError as error:
        raise ConnectionLostError(f"no leader at {invitation.address}: {error}") from error
    connection = Connection(stream)
    _, nonce = connection.receive()
    proof = _proof(invitation.secret, nonce, rank, purpose)
    connection.send_json(Kind.HELLO, {"rank": rank, "purpose": purpose, "host": host, "proof": proof})
    connection.set_timeout(None)
    return connection


def _proof(secret: str, nonce: bytes, rank: int, purpose: str) -> str:
    return hmac.new(bytes.fromhex(secret), nonce + f"{rank}/{purpose}".encode(), "sha256").hexdigest()
