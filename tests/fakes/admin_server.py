"""An AdminService over real loopback gRPC that answers as a test wrote down, and notes what it was asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock.cache.v1 import cache_pb2
from penstock_shared.errors import PenstockError, to_rich_status


@dataclass
class ScriptedAdmin(admin_pb2_grpc.AdminServiceServicer):
    """As a context manager, serves on `address`.

    Attributes:
        seen: the requests that came, each of an import's by itself.
        metadata: of the last call.
        failure: ends every call, while it is set.
    """

    models: list[admin_pb2.ModelStatus] = field(default_factory=list)
    stats: cache_pb2.GetStatsResponse = field(default_factory=cache_pb2.GetStatsResponse)
    explanation: admin_pb2.ExplainCacheResponse = field(default_factory=admin_pb2.ExplainCacheResponse)
    records: list[cache_pb2.CacheRecord] = field(default_factory=list)
    num_already_there: int = 0
    num_refused: int = 0
    failure: PenstockError | None = None
    seen: list[Any] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    address: str = ""

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(2))
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def GetStatus(self, _request: Any, context: Any) -> admin_pb2.GetStatusResponse:  # noqa: N802
        """The models."""
        self._note(None, context)
        return admin_pb2.GetStatusResponse(models=self.models)

    def GetCacheStats(self, request: Any, context: Any) -> admin_pb2.GetCacheStatsResponse:  # noqa: N802
        """The statistics."""
        self._note(request, context)
        return admin_pb2.GetCacheStatsResponse(stats=self.stats)

    def ExplainCache(self, request: Any, context: Any) -> admin_pb2.ExplainCacheResponse:  # noqa: N802
        """The explanation."""
        self._note(request, context)
        return self.explanation

    def InvalidateCache(self, request: Any, context: Any) -> admin_pb2.InvalidateCacheResponse:  # noqa: N802
        """Two answers went."""
        self._note(request, context)
        return admin_pb2.InvalidateCacheResponse(num_removed=2)

    def ExportCache(self, request: Any, context: Any) -> Iterator[admin_pb2.ExportCacheResponse]:  # noqa: N802
        """The records, then the failure."""
        self.seen.append(request)
        for record in self.records:
            yield admin_pb2.ExportCacheResponse(record=record)
        self._note(None, context)

    def ImportCache(self, request_iterator: Any, context: Any) -> admin_pb2.ImportCacheResponse:  # noqa: N802
        """Keeps what is neither refused nor there already."""
        for request in request_iterator:
            self._note(request, context)
        num_there, num_refused = self.num_already_there, self.num_refused
        kept = len(self.seen) - num_there - num_refused
        return admin_pb2.ImportCacheResponse(num_entries=kept, num_already_there=num_there, num_refused=num_refused)

    def _note(self, request: Any, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        if request is not None:
            self.seen.append(request)
        if self.failure is not None:
            context.abort_with_status(to_rich_status(self.failure))
