"""Stands around every call that a server takes."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from opentelemetry.trace import SpanKind

from penstock_shared import semconv
from penstock_shared.call_record import CallRecord, current_call
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import InternalError, PenstockError, UnauthenticatedError, UnavailableError, to_rich_status
from penstock_shared.logs import get_logger
from penstock_shared.parsing import parse_request
from penstock_shared.principal import FLEET, Authenticate, Metadata, Principal, current_principal
from penstock_shared.tracing import TRACEPARENT_KEY, TraceContext, Tracer, current_trace

_HEALTH_PREFIX = "/grpc.health.v1.Health/"
# For a stopping server's callers: by then another one serves.
_RETRY_AFTER_S = 1.0
# These end with the connection or the server alone: no span tells of them, and no drain waits for them.
_ENDLESS_PREFIXES = (
    _HEALTH_PREFIX,
    "/grpc.reflection.",
    "/penstock.fleet.v1.FleetService/WatchReplicas",
    "/penstock.worker.v1.WorkerService/Session",
)
_HANDLER_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Any]


class CallGuard(grpc.aio.ServerInterceptor):
    """Wraps every handler: credential, trace, error mapping. One wrapper, not three: each costs on every call.

    Args:
        tracer: records the calls.
        credential: what other services must show; None: nothing.
        authenticate: finds out which client calls; None: nobody asks.
        observe: told of every call that has ended, health checks excepted; None: nobody keeps records.

    Attributes:
        is_idle: set while no call is under way but endless ones.
    """

    def __init__(
        self,
        tracer: Tracer,
        credential: FleetCredential | None,
        authenticate: Authenticate | None = None,
        observe: Callable[[CallRecord], None] | None = None,
    ) -> None:
        self._tracer = tracer
        self._credential = credential
        self._authenticate = authenticate
        self._observe = observe
        self._log = get_logger("server")
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._endless: set[asyncio.Task[Any]] = set()
        self._is_closing = False
        self.is_idle = asyncio.Event()
        self.is_idle.set()

    def end_endless_calls(self) -> None:
        """Ends the watches and sessions with UNAVAILABLE; nothing else ends them while the server runs."""
        self._is_closing = True
        for task in self._endless:
            task.cancel()

    def end_all_calls(self) -> None:
        """Ends every call with UNAVAILABLE, whatever it is doing."""
        self.end_endless_calls()
        for task in self._running:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler of a call, guarded. A method's handler is always the same, and is wrapped once."""
        method = handler_call_details.method
        if method not in self._guarded:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._guarded[method] = self._wrap(method, handler)
        return self._guarded[method]

    def _wrap(self, method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        assert handler.request_deserializer is not None, "generated code registers one"
        parse = partial(parse_request, handler.request_deserializer)
        if not handler.request_streaming:
            # Parsed behind the guard's checks and not by gRPC: what fails to parse is then an error like any other.
            behavior = partial(_parse_and_run, parse, behavior)
        guarded = self._guard(method, behavior, is_endless=method.startswith(_ENDLESS_PREFIXES))
        make = _HANDLER_MAKERS[handler.request_streaming, handler.response_streaming]
        return make(guarded, parse if handler.request_streaming else None, handler.response_serializer)

    def _guard(self, method: str, behavior: Behavior, *, is_endless: bool) -> Behavior:
        calls = self._endless if is_endless else self._running
        is_open = method.startswith(_HEALTH_PREFIX)

        async def guarded(request: Any, context: Context) -> Any:
            start_ns = time.time_ns()
            metadata: Any = context.invocation_metadata() or ()
            parent = TraceContext.parse(_text_of(metadata, TRACEPARENT_KEY))
            trace = self._tracer.begin(parent)
            current_trace.set(trace)
            call = None if is_open else self._open_record(method, context)
            code = grpc.StatusCode.OK
            try:
                with self._counted(calls):
                    if not is_open:
                        self._let_in(metadata, context)
                    return await _run(behavior, request, context)
            except PenstockError as error:
                code, status = error.code, to_rich_status(error)
            except grpc.aio.AbortError:
                code = _code_of(context)
                raise
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                if not self._is_closing:
                    raise
                status = to_rich_status(_closing_error())
            except Exception:  # noqa: BLE001 - the border: nothing unknown leaves as it is
                code = grpc.StatusCode.INTERNAL
                self._log.exception("unhandled error", method=method)
                status = to_rich_status(InternalError("internal error; see the server's log"))
            finally:
                if trace.is_sampled and not is_endless:
                    self._record(method, trace, parent, start_ns, code)
                self._close_record(call, code)
            # gRPC keeps an aborted call and the error of its abort in a cycle, which may live for minutes. So the
            # request is let go of, and the error behind the abort, with all its frames, is not in its context.
            del request
            return await context.abort_with_status(status)

        return guarded

    def _let_in(self, metadata: Metadata, context: Context) -> None:
        if self._credential is not None and not self._credential.matches(metadata):
            raise UnauthenticatedError("the fleet credential is missing or wrong")
        if self._authenticate is not None:
            _enter(self._authenticate(metadata, context.auth_context))
        elif self._credential is not None:
            _enter(FLEET)

    def _open_record(self, method: str, context: Context) -> CallRecord | None:
        if self._observe is None:
            return None
        call = CallRecord(method.lstrip("/"), context.peer())
        current_call.set(call)
        return call

    def _close_record(self, call: CallRecord | None, code: grpc.StatusCode) -> None:
        if call is not None and self._observe is not None:
            call.code, call.ended_s = code.name, time.time()
            self._observe(call)

    @contextmanager
    def _counted(self, calls: "set[asyncio.Task[Any]]") -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None, "gRPC runs every handler in a task"
        calls.add(task)
        if self._running:
            self.is_idle.clear()
        try:
            yield
        finally:
            calls.discard(task)
            if not self._running:
                self.is_idle.set()

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


def _parse_and_run(parse: Callable[[bytes], Any], behavior: Behavior, data: bytes, context: Context) -> Any:
    return behavior(parse(data), context)


def _enter(principal: Principal) -> None:
    """The call at hand is this caller's."""
    current_principal.set(principal)
    call = current_call.get()
    if call is not None:
        call.principal = principal


def _closing_error() -> UnavailableError:
    return UnavailableError("the server is shutting down", retry_after_s=_RETRY_AFTER_S)


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
