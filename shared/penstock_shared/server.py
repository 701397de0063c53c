"""A gRPC server as every service runs it: guarded calls, health, reflection, and a graceful end in two stages."""

import asyncio
import inspect
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.trace import SpanKind

from penstock_shared import semconv
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import InternalError, PenstockError, UnauthenticatedError, to_rich_status
from penstock_shared.limits import DEFAULT_MAX_MESSAGE_BYTES
from penstock_shared.logs import get_logger
from penstock_shared.tracing import TRACEPARENT_KEY, TraceContext, Tracer, current_trace

_HEALTH_PREFIX = "/grpc.health.v1.Health/"
_UNTRACED_PREFIXES = (_HEALTH_PREFIX, "/grpc.reflection.")
_UNTRACED_METHODS = frozenset(
    {"/penstock.worker.v1.WorkerService/Session", "/penstock.fleet.v1.FleetService/WatchReplicas"}
)
_HANDLER_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Sequence[tuple[str, str | bytes]]
Behavior = Callable[[Any, Context], Any]


class GrpcServer:
    """A grpc.aio server.

    Every call but a health check is checked for the fleet credential (where one is given), leaves with the status of
    the error tree, and is recorded as a span unless it is a long-lived inner stream.

    Args:
        bind: host:port; port 0 lets the system choose.
        service_names: full names of the services, for health and reflection.
        tracer: records the calls.
        credential: what callers must show; None: everybody is let in.
        max_message_bytes: larger messages end a call with RESOURCE_EXHAUSTED.
        options: further gRPC channel arguments.
    """

    def __init__(
        self,
        *,
        bind: str,
        service_names: Sequence[str],
        tracer: Tracer,
        credential: FleetCredential | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self._bind = bind
        self._service_names = tuple(service_names)
        self._health = health.aio.HealthServicer()
        self.server = grpc.aio.server(
            interceptors=[_CallGuard(tracer, credential)],
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),
                *options,
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflected = (*self._service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(reflected, self.server)

    async def start(self) -> int:
        """Listens and returns the port. Health stays NOT_SERVING until `set_serving`.

        Raises:
            OSError: the address cannot be bound.
        """
        try:
            port = self.server.add_insecure_port(self._bind)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._bind}: the port is taken or not allowed") from error
        await self.set_serving(False)
        await self.server.start()
        return port

    async def set_serving(self, is_serving: bool) -> None:
        """States the health of all services and of the server as a whole."""
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (*self._service_names, ""):
            await self._health.set(name, status)

    async def drain(self, grace_s: float) -> None:
        """States NOT_SERVING, refuses new calls, lets running ones finish for `grace_s`, then cancels them."""
        await self._health.enter_graceful_shutdown()
        await self.server.stop(grace_s)


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
    second.cancel()
    if not drain.done():
        drain.cancel()
        await server.server.stop(0)
    await asyncio.gather(drain, second, return_exceptions=True)


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


class _CallGuard(grpc.aio.ServerInterceptor):
    """Wraps every handler: credential, trace, error mapping. One wrapper, not three: each costs on every call."""

    def __init__(self, tracer: Tracer, credential: FleetCredential | None) -> None:
        self._tracer = tracer
        self._credential = credential
        self._log = get_logger("server")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_HEALTH_PREFIX):
            return handler
        is_traced = not (method.startswith(_UNTRACED_PREFIXES) or method in _UNTRACED_METHODS)
        behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        guarded = self._guard(method, behavior, is_traced=is_traced)
        make = _HANDLER_MAKERS[handler.request_streaming, handler.response_streaming]
        return make(guarded, handler.request_deserializer, handler.response_serializer)

    def _guard(self, method: str, behavior: Behavior, *, is_traced: bool) -> Behavior:
        async def guarded(request: Any, context: Context) -> Any:
            start_ns = time.time_ns()
            metadata: Any = context.invocation_metadata() or ()
            parent = TraceContext.parse(_text_of(metadata, TRACEPARENT_KEY))
            trace = self._tracer.begin(parent)
            current_trace.set(trace)
            code = grpc.StatusCode.OK
            try:
                if self._credential is not None and not self._credential.matches(metadata):
                    raise UnauthenticatedError("the fleet credential is missing or wrong")  # noqa: TRY301
                return await _run(behavior, request, context)
            except PenstockError as error:
                code = error.code
                await context.abort_with_status(to_rich_status(error))
            except grpc.aio.AbortError:
                code = _code_of(context)
                raise
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception:  # noqa: BLE001 - the border: nothing unknown leaves as it is
                code = grpc.StatusCode.INTERNAL
                self._log.exception("unhandled error", method=method)
                await context.abort_with_status(to_rich_status(InternalError("internal error; see the server's log")))
            finally:
                if is_traced:
                    self._record(method, trace, parent, start_ns, code)

        return guarded

    def _record(
        self,
        method: str,
        trace: TraceContext,
        parent: TraceContext | None,
        start_ns: int,
        code: grpc.StatusCode,
    ) -> None:
        attributes = {
            semconv.RPC_SYSTEM: semconv.GRPC,
            semconv.RPC_METHOD: method.lstrip("/"),
            semconv.RPC_STATUS_CODE: code.name,
        }
        self._tracer.record(
            method.lstrip("/"),
            trace,
            parent=parent,
            start_ns=start_ns,
            end_ns=time.time_ns(),
            kind=SpanKind.SERVER,
            attributes=attributes,
            error=None if code is grpc.StatusCode.OK else code.name,
        )


async def _run(behavior: Behavior, request: Any, context: Context) -> Any:
    result = behavior(request, context)
    if inspect.isasyncgen(result):
        await _write_all(result, context)
        return None
    return await result if inspect.isawaitable(result) else result


async def _write_all(responses: AsyncIterator[Any], context: Context) -> None:
    async for response in responses:
        await context.write(response)


def _text_of(metadata: Metadata, key: str) -> str | None:
    for found, value in metadata:
        if found == key:
            return value if isinstance(value, str) else None
    return None


def _code_of(context: Context) -> grpc.StatusCode:
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), grpc.StatusCode.UNKNOWN)
