"""The counters of the service as one message."""

from collections import Counter
from collections.abc import Iterable, Mapping

from penstock.cache.v1 import cache_pb2
from penstock_cache.decision.error_estimate import ErrorEstimate
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.semantic.tally import Tally
from penstock_cache.store import Store


class Statistics:
    """Counts lookups, and gathers what store and semantic layer count. All counts are of this process.

    Args:
        store: counts what it keeps and evicts.
        semantic: counts what was found by meaning.

    Attributes:
        num_lookups, num_exact_hits: by tenant.
    """

    def __init__(self, store: Store, semantic: SemanticDoor) -> None:
        self._store = store
        self._semantic = semantic
        self.num_lookups: Counter[str] = Counter()
        self.num_exact_hits: Counter[str] = Counter()

    async def of(self, tenant: str) -> cache_pb2.GetStatsResponse:
        """Counts of a tenant, or of all together where `tenant` is empty."""
        stored = await self._store.totals(tenant)
        response = cache_pb2.GetStatsResponse(
            num_entries=stored.num_entries,
            size_bytes=stored.size_bytes,
            num_lookups=_count(self.num_lookups, tenant),
            num_exact_hits=_count(self.num_exact_hits, tenant),
            num_evictions=_count(self._store.num_evictions, tenant),
        )
        layer = self._semantic.layer
        if layer is not None:
            _add_tally(response, layer.learner.tally(tenant))
            _add_estimate(response, layer.deciders.estimates(tenant))
            response.num_waiting_for_vector = await self._store.num_stale_prompts(tenant, layer.encoder_fingerprint)
        return response


def _add_tally(response: cache_pb2.GetStatsResponse, tally: Tally) -> None:
    response.num_semantic_lookups = tally.num_lookups
    response.num_semantic_hits = tally.num_hits
    response.num_explorations = tally.num_explorations
    response.num_labels = tally.num_labels
    response.num_wrong_explorations = tally.num_wrong_labels
    response.num_audits = tally.num_audits
    response.num_wrong_audits = tally.num_wrong_audits
    response.num_semantic_failures = tally.num_failures


def _add_estimate(response: cache_pb2.GetStatsResponse, estimates: Iterable[ErrorEstimate]) -> None:
    """Deciders together: their wrong hits add up, and so do the bounds of these."""
    audited = [each for each in estimates if each.num_audits]
    num_requests = sum(each.num_requests for each in audited)
    if not num_requests:
        return
    num_wrong = sum(each.num_wrong for each in audited)
    num_served = sum(each.num_served for each in audited)
    response.error_rate = num_wrong / num_requests
    response.error_rate_bound = sum(each.error_rate_bound() * each.num_requests for each in audited) / num_requests
    response.wrong_per_served = min(1.0, num_wrong / num_served) if num_served else 0.0


def _count(by_tenant: Mapping[str, int], tenant: str) -> int:
    return by_tenant.get(tenant, 0) if tenant else sum(by_tenant.values())
