"""A gRPC server as every service runs it: guarded calls, health, reflection, and a graceful end in two stages."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from penstock_shared.call_guard import CallGuard
from penstock_shared.call_record import CallRecord
from penstock_shared.credentials import FleetCredential
from penstock_shared.logs import get_logger
from penstock_shared.principal import Authenticate
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer
from penstock_shared.transport_limits import TransportLimits

_INNER_LIMITS = TransportLimits()


class GrpcServer:
    """A grpc.aio server.

    Every call but a health check must show the fleet credential, or who calls, where that is asked for. Every call
    leaves with the status of the error tree, and is recorded as a span unless it is a long-lived inner stream.

    Args:
        bind: host:port; port 0 lets the system choose.
        service_names: full names of the services, for health and reflection.
        tracer: records the calls.
        credential: what other services must show; None: nothing.
        authenticate: finds out which client calls, and refuses whom it does not know; None: nobody asks.
        observe: told of every call that has ended, health checks excepted; None: nobody keeps records.
        limits: what it grants whoever connects.
        reflects: whether it describes its services to whom it lets in.
        certificates: it speaks TLS with these; None: plaintext.
    """

    def __init__(
        self,
        *,
        bind: str,
        service_names: Sequence[str],
        tracer: Tracer,
        credential: FleetCredential | None = None,
        authenticate: Authenticate | None = None,
        observe: Callable[[CallRecord], None] | None = None,
        limits: TransportLimits = _INNER_LIMITS,
        reflects: bool = True,
        certificates: ReloadingCertificates | None = None,
    ) -> None:
        self._bind = bind
        self._certificates = certificates
        self._service_names = tuple(service_names)
        self._health = health.aio.HealthServicer()
        self._guard = CallGuard(tracer, credential, authenticate, observe)
        self.server = grpc.aio.server(
            interceptors=[self._guard],
            options=[("grpc.so_reuseport", 0), *limits.channel_arguments()],
            maximum_concurrent_rpcs=limits.max_calls,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        if reflects:
            reflected = (*self._service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(reflected, self.server)

    async def start(self) -> int:
        """Listens and returns the port. Health stays NOT_SERVING until `set_serving`.

        Raises:
            OSError: the address cannot be bound.
        """
        try:
            port = self._add_port()
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._bind}: the port is taken or not allowed") from error
        await self.set_serving(False)
        await self.server.start()
        return port

    def _add_port(self) -> int:
        if self._certificates is None:
            return self.server.add_insecure_port(self._bind)
        return self.server.add_secure_port(self._bind, self._certificates.server_credentials())

    async def set_serving(self, is_serving: bool) -> None:
        """States the health of all services and of the server as a whole."""
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (*self._service_names, ""):
            await self._health.set(name, status)

    async def drain(self, grace_s: float) -> None:
        """States NOT_SERVING, refuses new calls, lets running ones finish for `grace_s`, then cancels them.

        Streams that end with the server alone (health and directory watches, sessions) are not waited for.
        """
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(self.server.stop(grace_s))
        idle = asyncio.ensure_future(self._guard.is_idle.wait())
        await asyncio.wait({stopping, idle}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        self._guard.end_endless_calls()
        await stopping

    def abort(self) -> None:
        """Ends every call at once; a drain under way ends with them."""
        self._guard.end_all_calls()


async def serve_until_signalled(
    server: GrpcServer, *, drain_grace_s: float, on_drain: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Waits for SIGTERM or SIGINT, then drains. A second signal ends the drain at once.

    Args:
        server: a started server.
        drain_grace_s: how long running calls may take to finish.
        on_drain: awaited before the server stops taking calls.
    """
    signals = _signal_queue()
    await signals.get()
    get_logger("server").info("draining", grace_s=drain_grace_s)
    drain = asyncio.ensure_future(_drain(server, drain_grace_s, on_drain))
    second = asyncio.ensure_future(signals.get())
    await asyncio.wait({drain, second}, return_when=asyncio.FIRST_COMPLETED)
    if second.done():
        server.abort()
    second.cancel()
    await drain


async def _drain(server: GrpcServer, grace_s: float, on_drain: Callable[[], Awaitable[None]] | None) -> None:
    if on_drain is not None:
        await on_drain()
    await server.drain(grace_s)


def _signal_queue() -> asyncio.Queue[int]:
    arrived: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived.put_nowait, number)
    return arrived
