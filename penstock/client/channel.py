"""How the client connects: retries of what never began, message bounds, and no proxy on the way to this machine."""

import ipaddress
import json

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

# gRPC itself retries a call that nothing has answered yet, inside its deadline, and stops when many fail (throttling).
# Once an event is in, a call is never repeated.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "penstock.inference.v1.InferenceService"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    # CANCELLED: what gRPC makes of a call that reaches a server which is just stopping.
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
)


def channel_options(address: str) -> list[tuple[str, str | int]]:
    """The gRPC channel arguments for `address` (host:port or any gRPC target)."""
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        # A client that starts before its server shall not wait out gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if is_loopback(address):
        # gRPC obeys http_proxy, and many forget no_proxy.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def key_metadata(api_key: str | None, address: str, *, is_insecure: bool) -> tuple[tuple[str, str], ...]:
    """What shows an API key to the gateway at `address`; nothing where there is no key.

    Raises:
        ValueError: the key would cross a network unencrypted, and nobody said that it may.
    """
    if api_key is None:
        return ()
    if not (is_loopback(address) or is_insecure):
        raise ValueError(
            f"the API key would go unencrypted to {address}, which is not this machine; "
            "say insecure if nobody can listen on the way"
        )
    if not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("the API key holds characters that no key has")
    return (("authorization", f"Bearer {api_key}"),)


def is_loopback(address: str) -> bool:
    """Whether host:port means this machine."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
