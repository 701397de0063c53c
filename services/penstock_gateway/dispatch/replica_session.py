"""One Session stream to one replica: opens it, reads, writes, watches, and reports its end."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc

from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_gateway.dispatch import worker_messages
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.replica_link import ReplicaLink, SessionEndedError
from penstock_gateway.dispatch.session_health import SessionHealth
from penstock_shared.directory import ModelSpec, ReplicaInfo
from penstock_shared.logs import get_logger

_HELLO_TIMEOUT_S = 5.0
_CHECK_INTERVAL_S = 0.25

SessionCall = Any  # grpc.aio.StreamStreamCall, whose type depends on the version of its stubs


class ReplicaSession:
    """Runs one session, once.

    Args:
        replica: whom to talk to, as the directory states it.
        spec: the model that it must serve.
        dispatcher: gets the link while the session is open.
        gateway_id: names this gateway to the worker.
        is_trusted: whether the replica gets work before its first good heartbeat.
    """

    def __init__(
        self, replica: ReplicaInfo, spec: ModelSpec, *, dispatcher: Dispatcher, gateway_id: str, is_trusted: bool
    ) -> None:
        self._replica = replica
        self._spec = spec
        self._dispatcher = dispatcher
        self._gateway_id = gateway_id
        self._is_trusted = is_trusted
        self._outbox_filled = asyncio.Event()
        self._log = get_logger("session").bind(replica=replica.replica_id)

    async def run(self, channel: grpc.aio.Channel, on_open: Callable[[ReplicaLink], None]) -> SessionEndedError:
        """Talks until the session is over, and tells why it is.

        Args:
            channel: to the replica; stays open.
            on_open: told of the link before it gets work.
        """
        call = worker_pb2_grpc.WorkerServiceStub(channel).Session()
        try:
            hello = await self._open(call)
            return await self._talk(call, hello, on_open)
        except SessionEndedError as ended:
            return ended
        except grpc.aio.AioRpcError as error:
            return _ended_by(error)
        finally:
            call.cancel()

    async def _open(self, call: SessionCall) -> worker_pb2.Hello:
        await call.write(worker_messages.open_message(self._gateway_id, self._spec.tokenizer_fingerprint))
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                message = await call.read()
        except TimeoutError:
            raise SessionEndedError(f"no hello within {_HELLO_TIMEOUT_S:g} s") from None
        if message is grpc.aio.EOF:
            raise SessionEndedError("the replica ended the session before its hello")
        _check_hello(message, self._replica, self._spec)
        hello: worker_pb2.Hello = message.hello
        return hello

    async def _talk(
        self, call: SessionCall, hello: worker_pb2.Hello, on_open: Callable[[ReplicaLink], None]
    ) -> SessionEndedError:
        link = ReplicaLink(
            hello,
            owner=self._dispatcher,
            health=SessionHealth(time.monotonic, check_interval_s=_CHECK_INTERVAL_S, is_trusted=self._is_trusted),
            notify_writer=self._outbox_filled.set,
        )
        on_open(link)
        self._dispatcher.add_link(link)
        self._log.info("session open", limits=str(link.ledger))
        ended = SessionEndedError("the gateway ended the session", was_fault=False)
        try:
            ended = await self._run_tasks(call, link)
        finally:
            self._dispatcher.remove_link(link, was_fault=ended.was_fault and not link.is_draining)
        return ended

    async def _run_tasks(self, call: SessionCall, link: ReplicaLink) -> SessionEndedError:
        """Reader, writer and watch, until one of them finds that the session is over."""
        tasks = [asyncio.ensure_future(run(call, link)) for run in (self._read, self._write, self._watch)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._cause(done.pop())

    def _cause(self, task: asyncio.Future[None]) -> SessionEndedError:
        error = task.exception()
        if isinstance(error, SessionEndedError):
            return error
        if isinstance(error, grpc.aio.AioRpcError):
            return _ended_by(error)
        self._log.error("session failed", exc_info=error)
        return SessionEndedError("defect in the gateway", was_fault=False)

    async def _read(self, call: SessionCall, link: ReplicaLink) -> None:
        while (message := await call.read()) is not grpc.aio.EOF:
            link.take(message)
        code = await call.code()
        raise SessionEndedError(f"the replica ended the session: {code.name}")

    async def _write(self, call: SessionCall, link: ReplicaLink) -> None:
        """The only writer of the stream."""
        while True:
            await self._outbox_filled.wait()
            self._outbox_filled.clear()
            for message in link.take_outbox():
                await call.write(message)

    async def _watch(self, _call: SessionCall, link: ReplicaLink) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            verdict = link.health.verdict()
            if verdict is not None:
                raise SessionEndedError(verdict)


def _ended_by(error: grpc.aio.AioRpcError) -> SessionEndedError:
    return SessionEndedError(f"{error.code().name}: {error.details()}")


def _check_hello(message: worker_pb2.SessionResponse, replica: ReplicaInfo, spec: ModelSpec) -> None:
    """Refuses a replica that is not the one meant, or that reads text differently."""
    hello = message.hello
    expectations = (
        ("first message", message.WhichOneof("message"), "hello"),
        ("seq", message.seq, 1),
        ("contract version", hello.contract_version, worker_messages.CONTRACT_VERSION),
        ("replica", hello.replica_id, replica.replica_id),
        ("incarnation", hello.incarnation, replica.incarnation),
        ("model", hello.model, spec.name),
        ("revision", hello.revision, spec.revision),
        ("tokenizer fingerprint", hello.tokenizer_fingerprint, spec.tokenizer_fingerprint),
    )
    for what, found, expected in expectations:
        if found != expected:
            raise SessionEndedError(f"refused: {what} is {found!r}, expected {expected!r}", was_fault=False)
