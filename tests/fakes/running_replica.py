"""A replica that listens on loopback, and ways to reach it."""

from contextlib import AsyncExitStack
from typing import Any

import grpc

from fakes.gateway_session import GatewaySession
from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.tracing import Tracer
from penstock_worker.engine.engine import Engine
from penstock_worker.replica.messages import Identity
from penstock_worker.replica.server import ReplicaServer

FINGERPRINT = "tokenizer-1"
IDENTITY = Identity(
    replica_id="tiny-0",
    incarnation=77,
    model="tiny",
    revision="revision-1",
    tokenizer_fingerprint=FINGERPRINT,
    numerics_fingerprint="numerics-1",
)


class RunningReplica:
    """A running replica. Its channels belong to `stack`."""

    def __init__(self, server: ReplicaServer, engine: Engine, port: int, tracer: Tracer, stack: AsyncExitStack) -> None:
        self.server = server
        self.engine = engine
        self.tracer = tracer
        self._address = f"127.0.0.1:{port}"
        self._stack = stack

    async def channel(self) -> grpc.aio.Channel:
        """A connection of its own, with flow-control windows that do not grow."""
        options = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
        return await self._stack.enter_async_context(grpc.aio.insecure_channel(self._address, options=options))

    async def connect(self) -> GatewaySession:
        """A session that is not opened yet."""
        return GatewaySession(await self.channel())

    async def session(self) -> GatewaySession:
        """An open session."""
        return await (await self.connect()).open(FINGERPRINT)

    async def stats(self) -> worker_pb2.GetStatsResponse:
        """The replica's counters."""
        stub: Any = worker_pb2_grpc.WorkerServiceStub(await self.channel())
        response: worker_pb2.GetStatsResponse = await stub.GetStats(worker_pb2.GetStatsRequest())
        return response
