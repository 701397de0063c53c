"""What a listener grants whoever connects, before any of our code runs."""

from dataclasses import dataclass

from penstock_shared.limits import DEFAULT_MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds of one listener; None leaves gRPC's own.

    Attributes:
        max_message_bytes: a larger message, packed or unpacked, ends its call with RESOURCE_EXHAUSTED.
        max_metadata_bytes: the same for a call's metadata, with 32 bytes added for each entry.
        max_connections: more are closed at once.
        max_streams_per_connection: a client holds further calls back until one of its own ends.
        max_calls: further ones on any connection end with RESOURCE_EXHAUSTED at once.
        max_pending_calls: that have arrived and were not looked at yet. gRPC drops what comes on top, as CANCELLED.
        max_connection_age_s: then a client is told to connect again (each connection at its own time, ± 10 %).
        connection_age_grace_s: how long the calls of such a connection may go on.
        keepalive_s, keepalive_timeout_s: how often a peer is asked whether it is there, and how long it may take.
        min_ping_interval_s: a client that pings more often is disconnected.
        handshake_timeout_s: for TLS and the first frames.
    """

    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    max_metadata_bytes: int | None = None
    max_connections: int | None = None
    max_streams_per_connection: int | None = None
    max_calls: int | None = None
    max_pending_calls: int = 8192
    max_connection_age_s: float | None = None
    connection_age_grace_s: float | None = None
    keepalive_s: float | None = None
    keepalive_timeout_s: float | None = None
    min_ping_interval_s: float | None = None
    handshake_timeout_s: float | None = None

    def channel_arguments(self) -> list[tuple[str, int]]:
        """As arguments of a gRPC server; `max_calls` is one of its constructor's."""
        values = {
            "grpc.max_receive_message_length": self.max_message_bytes,
            "grpc.max_send_message_length": self.max_message_bytes,
            # Equal: between the two, gRPC would refuse at random.
            "grpc.max_metadata_size": self.max_metadata_bytes,
            "grpc.absolute_max_metadata_size": self.max_metadata_bytes,
            "grpc.max_allowed_incoming_connections": self.max_connections,
            "grpc.max_concurrent_streams": self.max_streams_per_connection,
            # On, gRPC refuses a client that keeps to the bound, because a stream counts for a moment after its end.
            "grpc.http.overload_protection": 0,
            # gRPC's own: from 1000 on, at random.
            "grpc.server.max_pending_requests": self.max_pending_calls,
            "grpc.server.max_pending_requests_hard_limit": self.max_pending_calls,
            "grpc.max_connection_age_ms": _milliseconds(self.max_connection_age_s),
            "grpc.max_connection_age_grace_ms": _milliseconds(self.connection_age_grace_s),
            "grpc.keepalive_time_ms": _milliseconds(self.keepalive_s),
            "grpc.keepalive_timeout_ms": _milliseconds(self.keepalive_timeout_s),
            "grpc.http2.ping_timeout_ms": _milliseconds(self.keepalive_timeout_s),
            "grpc.http2.min_ping_interval_without_data_ms": _milliseconds(self.min_ping_interval_s),
            # Between calls too: a peer that is gone is found out, and one that pings is not held to two hours.
            "grpc.keepalive_permit_without_calls": None if self.keepalive_s is None else 1,
            "grpc.server_handshake_timeout_ms": _milliseconds(self.handshake_timeout_s),
        }
        return [(name, value) for name, value in values.items() if value is not None]


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
