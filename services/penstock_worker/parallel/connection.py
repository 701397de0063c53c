"""Messages between the leader and a shard: a length, a kind, bytes. What they mean stands in `messages`."""

import json
import socket
import struct
import threading
from contextlib import suppress
from enum import IntEnum
from typing import Any

_HEADER = struct.Struct("<IB")
# A step of 100,000 sequences with 32k tokens each would not fill it.
_MAX_BYTES = 256 * 1024 * 1024


class Kind(IntEnum):
    """What a message says."""

    HELLO = 1
    """A shard: who it is."""
    TRANSPORT = 2
    """The leader: how tensors travel."""
    JOINED = 3
    """A shard: its group and links stand."""
    LOADED = 4
    """A shard: its weights are there, and how many blocks it has room for."""
    FAILED = 5
    """A shard: it cannot do what it was told, and why."""
    ALLOCATE = 6
    """The leader: how many blocks the KV cache has."""
    READY = 7
    """A shard: it takes steps."""
    STEP = 8
    """The leader: a plan to compute."""
    LOAD_ADAPTER = 9
    """The leader: an adapter to read."""
    DROP_ADAPTER = 10
    """The leader: an adapter to forget."""
    ADAPTER_LOADED = 11
    """A shard: steps may use the adapter."""
    BEAT = 12
    """Either: it lives."""


_KINDS = frozenset(map(int, Kind))


class ConnectionLostError(Exception):
    """The other side is gone, or has said nothing for too long: expected where processes die."""


class Connection:
    """One stream of messages. One thread receives, any thread sends.

    Args:
        stream: connected. A time-out that is set on it bounds each receive.
    """

    def __init__(self, stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Sends one message.

        Raises:
            ConnectionLostError: the other side is gone.
        """
        try:
            with self._lock:
                self._stream.sendall(_HEADER.pack(len(payload), kind) + payload)
        except OSError as error:
            raise ConnectionLostError(f"the connection broke: {error}") from error

    def send_json(self, kind: Kind, values: dict[str, Any]) -> None:
        """Sends one message of names and values."""
        self.send(kind, json.dumps(values).encode())

    def receive(self) -> tuple[Kind, bytes]:
        """Waits for the next message.

        Raises:
            ConnectionLostError: the other side is gone, silent for longer than the time-out, or speaks something else.
        """
        size, kind = _HEADER.unpack(self._read(_HEADER.size))
        if size > _MAX_BYTES or kind not in _KINDS:
            raise ConnectionLostError(f"a message of kind {kind} with {size} bytes")
        return Kind(kind), self._read(size)

    def expect(self, *kinds: Kind) -> tuple[Kind, dict[str, Any]]:
        """Waits for the next message, which is to be of these kinds, and returns its names and values."""
        kind, payload = self.receive()
        if kind not in kinds:
            raise ConnectionLostError(f"{kind.name} came in place of {' or '.join(each.name for each in kinds)}")
        values: dict[str, Any] = json.loads(payload)
        return kind, values

    def set_timeout(self, limit_s: float | None) -> None:
        """From now on a receive waits no longer; None: for ever."""
        self._stream.settimeout(limit_s)

    def close(self) -> None:
        """Ends the stream for both sides, and whatever waits on it."""
        with suppress(OSError):  # it was broken already
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        try:
            while view:
                count = self._stream.recv_into(view)
                if not count:
                    raise ConnectionLostError("the connection was closed")
                view = view[count:]
        except OSError as error:
            raise ConnectionLostError(f"the connection broke: {error}") from error
        return bytes(data)
