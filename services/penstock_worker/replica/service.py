"""`WorkerService` over gRPC: one reader and one writer task a stream, everything decided in the hub."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.errors import FailedPreconditionError, InternalError, PenstockError, UnavailableError
from penstock_shared.logs import get_logger
from penstock_worker.replica.hub import SessionHub
from penstock_worker.replica.inbound import inbound_message
from penstock_worker.replica.messages import Open
from penstock_worker.replica.outbound import outbound_message, stats_response
from penstock_worker.replica.session import Session

_OPEN_TIMEOUT_S = 10.0
_LAST_WORDS_S = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class WorkerService(worker_pb2_grpc.WorkerServiceServicer):
    """Serves gateways from one hub."""

    def __init__(self, hub: SessionHub) -> None:
        self._hub = hub
        self._keys = itertools.count(1)
        self._log = get_logger("session")

    # A coroutine that writes, not a generator that yields: a write that the peer blocks can be abandoned.
    async def Session(self, _requests: object, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Opens the session and runs it until either side ends it."""
        changed, ended = asyncio.Event(), asyncio.Event()
        session = self._hub.open(await self._opening(context), on_message=changed.set, on_end=ended.set)
        self._log.info("session opened", gateway=session.gateway_id)
        reader = asyncio.create_task(_ending(session, _read(session, context, self._hub, self._next_key)))
        writer = asyncio.create_task(_ending(session, _write(session, context, changed)))
        try:
            await ended.wait()
        finally:
            self._hub.close(session)
            reader.cancel()
            if isinstance(session.error, UnavailableError):  # a drained replica: its last outputs may still wait
                changed.set()
                await asyncio.wait({writer}, timeout=_LAST_WORDS_S)
            writer.cancel()
            self._log.info("session closed", gateway=session.gateway_id, error=session.error)
        if session.error is not None:
            raise session.error

    async def GetStats(  # noqa: N802 - gRPC's naming
        self, _request: worker_pb2.GetStatsRequest, _context: Context
    ) -> worker_pb2.GetStatsResponse:
        """The engine's counters."""
        identity = self._hub.identity
        return stats_response(identity.replica_id, identity.incarnation, self._hub.stats())

    async def _opening(self, context: Context) -> Open:
        try:
            request = await asyncio.wait_for(context.read(), _OPEN_TIMEOUT_S)
        except TimeoutError:
            raise FailedPreconditionError(f"no Open came within {_OPEN_TIMEOUT_S:.0f} s") from None
        message = None if request is grpc.aio.EOF else inbound_message(request, self._next_key)
        if not isinstance(message, Open):
            raise FailedPreconditionError("the first message of a session is Open")
        return message

    def _next_key(self) -> int:
        return next(self._keys)


async def _read(session: Session, context: Context, hub: SessionHub, next_key: Callable[[], int]) -> None:
    while (request := await context.read()) is not grpc.aio.EOF:
        hub.receive(session, inbound_message(request, next_key))


async def _write(session: Session, context: Context, changed: asyncio.Event) -> None:
    """The only writer of the stream: gRPC allows one write at a time. Ends when an ended session has said it all."""
    while True:
        changed.clear()
        while (numbered := session.outbox.pop()) is not None:
            await context.write(outbound_message(*numbered))
        if session.is_ended:
            return
        await changed.wait()


async def _ending(session: Session, work: Coroutine[Any, Any, None]) -> None:
    """Runs one side of the stream; the session ends with it, and for its reason."""
    try:
        await work
    except PenstockError as error:
        session.end(error)
    except grpc.aio.InternalError:  # gRPC's word for a peer that is gone
        session.end(None)
    except Exception:  # noqa: BLE001 - the border: a defect ends this session and no other
        get_logger("session").exception("session failed", gateway=session.gateway_id)
        session.end(InternalError("internal error; see the replica's log"))
    else:
        session.end(None)
