"""`CacheService` of protos/penstock/cache/v1."""
# ruff: noqa: N802 - gRPC names methods

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_cache import convert, records
from penstock_cache.entries import NewEntry, Restored
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.semantic.learner import Settlement
from penstock_cache.semantic.question import Outcome, Verdict
from penstock_cache.statistics import Statistics
from penstock_cache.store import Store
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.storable import check_storable

Context = grpc.aio.ServicerContext[Any, Any]

_NO_EXACT_ANSWER = "no answer to this very request is stored"
# Of a caller's time; the rest is for the way back.
_SHARE_OF_TIME = 0.8


class CacheServicer(cache_pb2_grpc.CacheServiceServicer):
    """Answers from a store: exactly, else by meaning. Counters are those of this process.

    Args:
        store: keeps the answers.
        semantic: finds answers by meaning, once it is open.
        default_ttl_s: how long an answer is served whose writer does not say.
        max_ttl_s: the longest that a writer may say.
    """

    def __init__(self, store: Store, semantic: SemanticDoor, *, default_ttl_s: float, max_ttl_s: float) -> None:
        self._store = store
        self._semantic = semantic
        self._default_ttl_s = default_ttl_s
        self._max_ttl_s = max_ttl_s
        self._statistics = Statistics(store, semantic)

    async def Lookup(self, request: cache_pb2.LookupRequest, context: Context) -> cache_pb2.LookupResponse:
        """Finds the answer to the very same request, else to one that means the same."""
        key = convert.exact_key(request.key)
        convert.question_of(request.key)
        convert.policy_of(request)
        self._statistics.num_lookups[key.tenant] += 1
        found = await self._store.lookup(key)
        if found is None:
            return convert.lookup_response(await self._look_up_by_meaning(request, context))
        self._statistics.num_exact_hits[key.tenant] += 1
        return cache_pb2.LookupResponse(
            outcome=cache_pb2.LOOKUP_OUTCOME_EXACT_HIT,
            answer=convert.stored_answer(found),
            reason="the very same request",
        )

    async def Put(self, request: cache_pb2.PutRequest, _context: Context) -> cache_pb2.PutResponse:
        """Keeps an answer, and learns from it where it was an exploration's."""
        entry = convert.new_entry(request, default_ttl_s=self._default_ttl_s, max_ttl_s=self._max_ttl_s)
        entry, settlement = await self._with_meaning(request, entry)
        entry_id = await self._store.put(entry)
        response = cache_pb2.PutResponse(entry_id=entry_id or "", is_stored=entry_id is not None)
        if settlement is not None:
            response.is_equivalent = settlement.is_equivalent
        return response

    async def Invalidate(self, request: cache_pb2.InvalidateRequest, _context: Context) -> cache_pb2.InvalidateResponse:
        """Removes answers of one tenant."""
        tenant = convert.tenant_of(request.tenant, field="tenant")
        return cache_pb2.InvalidateResponse(num_removed=await self._store.invalidate(tenant, convert.selector(request)))

    async def GetStats(self, request: cache_pb2.GetStatsRequest, _context: Context) -> cache_pb2.GetStatsResponse:
        """Counters of a tenant, or of all together."""
        check_storable("tenant", request.tenant)
        return await self._statistics.of(request.tenant)

    async def Explain(self, request: cache_pb2.ExplainRequest, _context: Context) -> cache_pb2.ExplainResponse:
        """What a lookup would come to."""
        convert.tenant_of(request.key.tenant, field="key.tenant")
        question, policy = convert.question_of(request.key), convert.policy_of(request)
        if request.key.exact_digest:
            found = await self._store.lookup(convert.exact_key(request.key))
            if found is not None:
                return cache_pb2.ExplainResponse(
                    outcome=cache_pb2.LOOKUP_OUTCOME_EXACT_HIT, reason="the very same request"
                )
        layer = self._semantic.layer
        if layer is None or question is None or policy is None:
            reason = _NO_EXACT_ANSWER if layer else self._semantic.reason
            return cache_pb2.ExplainResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason=reason)
        return convert.explain_response(await layer.explain(question, policy))

    async def Export(
        self, request: cache_pb2.ExportRequest, _context: Context
    ) -> AsyncIterator[cache_pb2.ExportResponse]:
        """All entries of a tenant, then all labels; one a message."""
        tenant = convert.tenant_of(request.tenant, field="tenant")
        async for exported in self._store.export(tenant):
            record = cache_pb2.CacheRecord(entry=records.entry_record(exported))
            yield cache_pb2.ExportResponse(record=record)
        for model in await self._store.label_models(tenant):
            for stored in await self._store.labels(tenant, model):
                record = cache_pb2.CacheRecord(label=records.label_record(model, stored.label))
                yield cache_pb2.ExportResponse(record=record)

    async def Import(
        self, requests: AsyncIterator[cache_pb2.ImportRequest], _context: Context
    ) -> cache_pb2.ImportResponse:
        """Keeps records one by one."""
        response = cache_pb2.ImportResponse()
        async for request in requests:
            tenant = convert.tenant_of(request.tenant, field="tenant")
            try:
                restored = await self._restore(request.record, tenant)
            except InvalidArgumentError:
                restored = Restored.REFUSED
            records.count(response, request.record, restored)
        return response

    async def _look_up_by_meaning(self, request: cache_pb2.LookupRequest, context: Context) -> Verdict:
        question, policy = convert.question_of(request.key), convert.policy_of(request)
        if question is None or policy is None:
            return Verdict(Outcome.MISS, _NO_EXACT_ANSWER)
        layer = self._semantic.layer
        if layer is None:
            return Verdict(Outcome.MISS, self._semantic.reason)
        left_s = context.time_remaining()
        return await layer.look_up(question, policy, time_left_s=None if left_s is None else left_s * _SHARE_OF_TIME)

    async def _with_meaning(self, request: cache_pb2.PutRequest, entry: NewEntry) -> tuple[NewEntry, Settlement | None]:
        """The entry as the semantic layer finds it, and what its exploration showed."""
        question, layer = convert.question_of(request.key), self._semantic.layer
        if question is None or layer is None or not convert.is_finished(request.answer):
            return entry, None
        settlement = None
        if request.exploration_token:
            settlement = await layer.learner.settle(
                question,
                request.exploration_token,
                [choice.text for choice in request.answer.choices],
                is_equivalent=request.is_equivalent if request.HasField("is_equivalent") else None,
            )
        cluster = settlement.cluster if settlement else None
        return replace(entry, semantic=await layer.part_of(question, cluster)), settlement

    async def _restore(self, record: cache_pb2.CacheRecord, tenant: str) -> Restored:
        if record.WhichOneof("kind") == "label":
            return await self._store.restore_label(tenant, record.label.model, records.label_of(record.label))
        return await self._store.restore(records.exported_entry(record.entry, tenant, max_ttl_s=self._max_ttl_s))
