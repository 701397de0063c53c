"""Outbound calls: channels that show the fleet credential and pass the trace on; retries within deadline and budget."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import grpc
from opentelemetry.trace import SpanKind
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from penstock_shared import semconv
from penstock_shared.credentials import FleetCredential
from penstock_shared.deadlines import Deadline
from penstock_shared.inner_tls import InnerTls
from penstock_shared.limits import DEFAULT_MAX_MESSAGE_BYTES
from penstock_shared.renewed_channel import RenewedChannel
from penstock_shared.tracing import TRACEPARENT_KEY, TraceContext, Tracer, current_trace

T = TypeVar("T")
Metadata = Sequence[tuple[str, str | bytes]]
# CANCELLED is what gRPC makes of a call that reaches a server which is just stopping. Our own cancelling is no error.
_RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def open_channel(
    address: str,
    *,
    credential: FleetCredential | None,
    tracer: Tracer,
    tls: InnerTls | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> grpc.aio.Channel:
    """A channel to an inner service.

    Unary calls are recorded as client spans under `current_trace`; streams carry credential and trace but get no
    span. Nothing stands between the caller and the messages of a stream.

    Args:
        address: host:port.
        credential: shown on every call; None: nothing is shown.
        tracer: records the unary calls.
        tls: what to show, and whom to trust; None: plaintext.
        max_message_bytes: bound for messages in both directions.
    """
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    channel = connect(address, tls, options)
    return _FleetChannel(channel, () if credential is None else credential.metadata(), tracer, address)


def connect(address: str, tls: InnerTls | None, options: Sequence[tuple[str, str | int]] = ()) -> grpc.aio.Channel:
    """A channel to an inner service that shows no fleet credential, as health checks need none.

    Args:
        address: host:port.
        tls: what to show, and whom to trust; None: plaintext.
        options: channel arguments.
    """
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    with_name = [*options, *tls.channel_options()]
    return RenewedChannel(tls.client_credentials, partial(grpc.aio.secure_channel, address, options=with_name))


class _FleetChannel(grpc.aio.Channel):
    """Adds metadata to every call of a channel.

    A client interceptor would do the same and also proxy every message of a stream.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, tracer: Tracer, address: str) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._tracer = tracer
        self._address = address

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._traced(method, self._channel.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._announced(self._channel.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._announced(self._channel.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._announced(self._channel.stream_stream(method, *args, **kwargs))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    def _announced(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Calls with credential and trace added."""

        def announced(*args: Any, metadata: Metadata = (), **kwargs: Any) -> Any:
            trace = current_trace.get()
            passed_on = () if trace is None else ((TRACEPARENT_KEY, trace.traceparent()),)
            return call(*args, metadata=(*self._metadata, *passed_on, *metadata), **kwargs)

        return announced

    def _traced(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same for a unary call, recorded as a client span where a trace is under way."""
        name = method.lstrip("/")

        async def traced(*args: Any, metadata: Metadata = (), **kwargs: Any) -> Any:
            parent = current_trace.get()
            if parent is None:
                return await call(*args, metadata=(*self._metadata, *metadata), **kwargs)
            trace, start_ns, code = self._tracer.begin(parent), time.time_ns(), grpc.StatusCode.OK
            shown = (*self._metadata, (TRACEPARENT_KEY, trace.traceparent()), *metadata)
            try:
                return await call(*args, metadata=shown, **kwargs)
            except grpc.aio.AioRpcError as error:
                code = error.code()
                raise
            except BaseException:
                code = grpc.StatusCode.CANCELLED
                raise
            finally:
                if trace.is_sampled:
                    self._record(name, trace, parent, start_ns, code)

        return traced

    def _record(
        self, name: str, trace: TraceContext, parent: TraceContext, start_ns: int, code: grpc.StatusCode
    ) -> None:
        attributes = {
            semconv.RPC_SYSTEM: semconv.GRPC,
            semconv.RPC_METHOD: name,
            semconv.RPC_STATUS_CODE: code.name,
            semconv.SERVER_ADDRESS: self._address,
        }
        self._tracer.record(
            name,
            trace,
            parent=parent,
            start_ns=start_ns,
            end_ns=time.time_ns(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            error=None if code is grpc.StatusCode.OK else code.name,
        )


class RetryBudget:
    """Bounds retries to a share of the calls, so that an outage is not multiplied.

    Each call earns `ratio` of a retry, up to `maximum` saved ones. (Twitter Finagle's retry budget.)
    """

    def __init__(self, ratio: float = 0.2, maximum: float = 10.0) -> None:
        self._ratio = ratio
        self._maximum = maximum
        self._saved = maximum

    def __repr__(self) -> str:
        return f"RetryBudget(saved={self._saved:.1f}/{self._maximum:.0f})"

    def earn(self) -> None:
        """Counts a first attempt."""
        self._saved = min(self._maximum, self._saved + self._ratio)

    def spend(self) -> bool:
        """Takes one retry; False where none is left."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


async def call_with_retries(
    call: Callable[[float], Awaitable[T]],
    *,
    deadline: Deadline,
    budget: RetryBudget,
    codes: Sequence[grpc.StatusCode] = _RETRYABLE,
    max_attempts: int = 3,
    is_wanted: Callable[[], bool] = lambda: True,
) -> T:
    """Calls until it succeeds, fails for good, or attempts, deadline or budget run out; then the last error is raised.

    The machinery of retries costs as much as half of a call; a call that succeeds at once does without it.

    Args:
        call: makes one attempt within the timeout (seconds) that it is given.
        deadline: of all attempts together.
        budget: shared by all callers of one service.
        codes: statuses worth another attempt.
        max_attempts: including the first.
        is_wanted: asked before a further attempt; where nobody wants the answer any more, none is made.
    """
    budget.earn()
    try:
        return await call(deadline.timeout_s())
    except grpc.aio.AioRpcError as error:
        if error.code() not in codes:
            raise
        failures = [error]

    async def attempt() -> T:
        """The first one has been made: its failure is all there is to tell of it."""
        if failures:
            raise failures.pop()
        return await call(deadline.timeout_s())

    def is_worth_retrying(error: BaseException) -> bool:
        return isinstance(error, grpc.aio.AioRpcError) and error.code() in codes

    def must_stop(state: RetryCallState) -> bool:
        may_not = state.attempt_number >= max_attempts or deadline.has_passed or not is_wanted()
        return may_not or not budget.spend()

    retrying = AsyncRetrying(
        retry=retry_if_exception(is_worth_retrying),
        stop=must_stop,
        wait=wait_random_exponential(multiplier=0.02, max=1.0),
        reraise=True,
    )
    return await retrying(attempt)
