"""What the cache is used for in one request: whether to look, whether to keep, and keeping beside everything else."""

import asyncio
from dataclasses import dataclass

import grpc

from penstock_gateway.cache.cache_client import CacheClient, Finding
from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_gateway.events import CacheOutcome, CacheReport
from penstock_gateway.requests import CacheMode, CachePolicy, GenerationRequest
from penstock_shared.logs import get_logger
from penstock_shared.tracing import TraceContext, current_trace

_MAX_PUTS = 64


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache may do for one request.

    Attributes:
        tenant: whose answer it is.
        digest: names the answer; None: it is neither looked up nor kept.
        policy: of the request.
        report: what is told where nothing is looked up; None: look it up.
    """

    tenant: str
    digest: bytes | None
    policy: CachePolicy
    report: CacheReport | None


class AnswerCache:
    """Decides by the request, and owns the answers that are on their way to the cache.

    Args:
        client: of the service; None where none is configured.
    """

    def __init__(self, client: CacheClient | None) -> None:
        self._client = client
        self._puts: set[asyncio.Task[None]] = set()
        self._log = get_logger("cache")

    def __repr__(self) -> str:
        return f"AnswerCache(configured={self._client is not None}, puts={len(self._puts)})"

    def plan(self, asked: GenerationRequest, digest: bytes | None, tenant: str) -> CacheUse:
        """What may be done for a request whose answer has that digest; None: there is no one answer to it."""
        why_not = self._why_not(asked, digest)
        if why_not is not None:
            return CacheUse(tenant, None, asked.cache, why_not)
        is_refresh = asked.cache.mode is CacheMode.REFRESH
        return CacheUse(tenant, digest, asked.cache, _bypassed(asked) if is_refresh else None)

    async def look_up(self, use: CacheUse) -> Finding:
        """Looks for the answer to a request without a report. Never fails."""
        assert self._client is not None, "without a service there is a report"
        assert use.digest is not None, "without a digest there is a report"
        return await self._client.look_up(use.tenant, use.digest)

    def keep(self, use: CacheUse, answer: StoredAnswer | None, trace: TraceContext) -> None:
        """Sends an answer to the cache in the background; under pressure it is left out."""
        if use.digest is None or answer is None or self._client is None:
            return
        if len(self._puts) >= _MAX_PUTS:
            self._log.warning("an answer is not kept: too many are on their way", num_waiting=len(self._puts))
            return
        task = asyncio.create_task(self._put(self._client, use, use.digest, answer, trace))
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def close(self) -> None:
        """Waits for what is on its way; each has its timeout."""
        if self._puts:
            await asyncio.wait(self._puts)

    def _why_not(self, asked: GenerationRequest, digest: bytes | None) -> CacheReport | None:
        """Why nothing may be kept."""
        if asked.cache.mode is CacheMode.BYPASS:
            return _bypassed(asked)
        if self._client is None:
            return CacheReport(CacheOutcome.SKIPPED, "no cache is configured")
        if digest is None:
            return CacheReport(CacheOutcome.SKIPPED, "sampled without a seed: every answer is another")
        if asked.sampling.logprobs is not None or asked.sampling.prompt_logprobs is not None:
            return CacheReport(CacheOutcome.SKIPPED, "log probabilities are not kept")
        return None

    async def _put(
        self, client: CacheClient, use: CacheUse, digest: bytes, answer: StoredAnswer, trace: TraceContext
    ) -> None:
        current_trace.set(trace)  # in this task's own context
        try:
            await client.put(use.tenant, digest, answer, ttl_s=use.policy.ttl_s, tags=use.policy.tags)
        except grpc.aio.AioRpcError as error:
            self._log.warning("an answer is not kept", code=error.code().name, why=error.details())


def _bypassed(asked: GenerationRequest) -> CacheReport:
    return CacheReport(CacheOutcome.BYPASSED, f"the request says {asked.cache.mode.name.lower()}")
