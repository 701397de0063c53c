"""`python -m penstock_shared.healthcheck [--inner-tls] HOST:PORT`: is a gRPC server healthy? For containers.

Exit code 0 if the server can serve; 1, with one line that says why, if not. `--inner-tls`: with the certificates of
PENSTOCK_INNER_TLS_*, if they are set.
"""

import sys
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from penstock_shared.inner_tls import InnerTls

_INNER_TLS = "--inner-tls"
_TIMEOUT_S = 3.0


def main() -> None:
    """Asks once."""
    *flags, address = sys.argv[1:]
    reason = what_is_wrong(address, is_inner_tls=_INNER_TLS in flags)
    if reason is not None:
        raise SystemExit(f"{address}: {reason}")


def what_is_wrong(address: str, *, is_inner_tls: bool = False) -> str | None:
    """Why the server at `address` cannot serve; None where it can."""
    with _channel(address, is_inner_tls=is_inner_tls) as channel:
        try:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    if health.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(health.status))


def _channel(address: str, *, is_inner_tls: bool) -> grpc.Channel:
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    tls = _inner_tls() if is_inner_tls else None
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, tls.client_credentials(), options=[*options, *tls.channel_options()])


def _inner_tls() -> "InnerTls | None":
    # They take longer to import than a probe in plaintext takes.
    from penstock_shared.errors import PenstockError  # noqa: PLC0415
    from penstock_shared.inner_tls import load_inner_tls  # noqa: PLC0415
    from penstock_shared.settings import ServiceSettings, load_settings  # noqa: PLC0415

    try:
        return load_inner_tls(load_settings(ServiceSettings))
    except PenstockError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
