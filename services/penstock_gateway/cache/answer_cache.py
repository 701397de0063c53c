"""The cache in one request: looking, and keeping beside everything else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from penstock_gateway.cache.cache_client import CacheClient, Finding
from penstock_gateway.cache.planner import CacheUse
from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_shared.logs import get_logger
from penstock_shared.tracing import TraceContext, current_trace

_MAX_PUTS = 64


class AnswerCache:
    """Owns the answers that are on their way to the cache.

    Args:
        client: of the service; None where none is configured.
        on_explored: told whether each stored answer that was explored says what the model did; None: not known.
    """

    def __init__(self, client: CacheClient | None, on_explored: Callable[[bool | None], None]) -> None:
        self._client = client
        self._on_explored = on_explored
        self._puts: set[asyncio.Task[None]] = set()
        self._log = get_logger("cache")

    def __repr__(self) -> str:
        return f"AnswerCache(configured={self._client is not None}, puts={len(self._puts)})"

    async def look_up(self, use: CacheUse) -> Finding:
        """Looks for the answer to a request without a report. Never fails."""
        assert self._client is not None, "without a service there is a report"
        key = use.lookup_key
        assert key is not None, "without a key there is a report"
        return await self._client.look_up(key, max_error_rate=use.max_error_rate)

    def keep(
        self, use: CacheUse, answer: StoredAnswer | None, trace: TraceContext, exploration_token: bytes = b""
    ) -> None:
        """Sends an answer to the cache in the background; under pressure it is left out.

        One that a limit cut is kept for the very same request, and tells nothing about another wording's.
        """
        if use.key is None or answer is None or self._client is None:
            return
        if len(self._puts) >= _MAX_PUTS:
            self._log.warning("an answer is not kept: too many are on their way", num_waiting=len(self._puts))
            return
        key, token = (use.key, exploration_token) if answer.is_complete else (use.key.exact_only(), b"")
        putting = self._client.put(key, answer, use.policy, exploration_token=token)
        task = asyncio.create_task(self._put(putting, trace, is_exploring=bool(token)))
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def close(self) -> None:
        """Waits for what is on its way; each has its timeout."""
        if self._puts:
            await asyncio.wait(self._puts)

    async def _put(self, putting: Coroutine[Any, Any, bool | None], trace: TraceContext, *, is_exploring: bool) -> None:
        current_trace.set(trace)  # in this task's own context
        is_equivalent = None
        try:
            is_equivalent = await putting
        except grpc.aio.AioRpcError as error:
            self._log.warning("an answer is not kept", code=error.code().name, why=error.details())
        if is_exploring:
            self._on_explored(is_equivalent)
