"""`python -m penstock_shared.healthcheck HOST:PORT`: asks the standard health service of a gRPC server, for containers.

Exit code 0 if the server can serve; 1, with one line that says why, if not.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_S = 3.0


def main() -> None:
    """Asks once."""
    reason = what_is_wrong(sys.argv[1])
    if reason is not None:
        raise SystemExit(f"{sys.argv[1]}: {reason}")


def what_is_wrong(address: str) -> str | None:
    """Why the server at `address` cannot serve; None where it can."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    if health.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(health.status))


if __name__ == "__main__":
    main()
