"""Counts: from the records of a replay to its figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.bench.cache.cache_client import Outcome
from penstock.bench.cache.confidence import interval
from penstock.bench.cache.record import ErrorKind, LookupRecord
from penstock.bench.figures import Summary, summarize

_BLOCK = 100


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Explorations that were reported, and how well the service's labels fit the classes."""

    num: int
    num_undecided: int
    num_wrongly_equivalent: int
    num_wrongly_different: int


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """Requests of classes whose answer has changed.

    Attributes:
        num_lookups: of them, after the change; no exact hits.
        num_wrong: wrong hits among them.
        num_wrong_by_block: of each hundred.
        num_until_under: after how many of them the error of all that follow is at or under the accepted rate.
        num_stale_exact_hits: exact hits among the requests of those classes that brought the old answer.
    """

    num_lookups: int
    num_wrong: int
    num_wrong_by_block: tuple[int, ...]
    num_until_under: int
    num_stale_exact_hits: int


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """What a replay came to. Rates are None where there is nothing to divide by.

    Attributes:
        num_requests: all of them.
        num_exact_hits: of them; they count in no rate.
        num_semantic_lookups: that reached the semantic layer, as the service counts them. It passes over prompts of a
            moment or a person, and those that it has no time for.
        num_hits: semantic ones.
        num_wrong: of those.
        num_explorations: model's answers that were compared with a stored one.
        num_misses: without a candidate to explore.
        miss_reasons: how many misses had which reason, in the service's words; the most frequent first.
        num_refused: answers that the service did not store.
        errors: wrong hits by kind.
        hit_rate: semantic hits among the requests that were no exact hits.
        servable_rate: share of those for which a right answer was stored.
        error_rate: wrong hits among semantic lookups.
        error_interval: of the error rate, 95 %, exact.
        wrong_per_served: wrong ones among semantic hits.
        latency_s: of lookups that were no exact hits.
        exact_latency_s: of exact hits.
        labels: of explorations.
        was_wrong: of each request in turn that was no exact hit, whether it brought a wrong answer.
        drift: where answers changed.
    """

    num_requests: int
    num_exact_hits: int
    num_semantic_lookups: int
    num_hits: int
    num_wrong: int
    num_explorations: int
    num_misses: int
    miss_reasons: dict[str, int]
    num_refused: int
    errors: dict[str, int]
    hit_rate: float | None
    servable_rate: float | None
    error_rate: float | None
    error_interval: tuple[float, float]
    wrong_per_served: float | None
    latency_s: Summary | None
    exact_latency_s: Summary | None
    labels: LabelCounts
    was_wrong: tuple[bool, ...]
    drift: DriftFigures | None

    @property
    def precision(self) -> float | None:
        """Right ones among semantic hits."""
        return None if self.wrong_per_served is None else 1 - self.wrong_per_served

    @property
    def answered_rate(self) -> float | None:
        """Hits of both kinds among all requests."""
        return _share(self.num_exact_hits + self.num_hits, self.num_requests)


def compute_figures(
    records: Sequence[LookupRecord], *, num_semantic_lookups: int, max_error_rate: float
) -> ReplayFigures:
    """The figures of a replay.

    Args:
        records: of all requests.
        num_semantic_lookups: how many of them reached the semantic layer.
        max_error_rate: what the error is held against.
    """
    others = [record for record in records if not record.is_exact]
    num_hits = sum(record.is_hit for record in others)
    wrong = [record for record in others if record.is_wrong]
    kinds = Counter(record.error for record in wrong)
    misses = [record for record in others if record.outcome is Outcome.MISS]
    return ReplayFigures(
        num_requests=len(records),
        num_exact_hits=len(records) - len(others),
        num_semantic_lookups=num_semantic_lookups,
        num_hits=num_hits,
        num_wrong=len(wrong),
        num_explorations=sum(record.outcome is Outcome.EXPLORE for record in others),
        num_misses=len(misses),
        miss_reasons=dict(Counter(record.reason for record in misses).most_common()),
        num_refused=sum(record.is_refused for record in records),
        errors={kind.value: kinds[kind] for kind in ErrorKind},
        hit_rate=_share(num_hits, len(others)),
        servable_rate=_share(sum(record.is_servable for record in others), len(others)),
        error_rate=_share(len(wrong), num_semantic_lookups),
        error_interval=interval(len(wrong), num_semantic_lookups),
        wrong_per_served=_share(len(wrong), num_hits),
        latency_s=summarize(record.latency_s for record in others),
        exact_latency_s=summarize(record.latency_s for record in records if record.is_exact),
        labels=_label_counts(others),
        was_wrong=tuple(record.is_wrong for record in others),
        drift=_drift_figures(records, max_error_rate),
    )


def num_until_under(is_wrong: Sequence[bool], max_error_rate: float) -> int:
    """After how many the share of true ones among all that follow is at or under the rate."""
    num_true = sum(is_wrong)
    for place, wrong in enumerate(is_wrong):
        if num_true <= max_error_rate * (len(is_wrong) - place):
            return place
        num_true -= wrong
    return len(is_wrong)


def _drift_figures(records: Sequence[LookupRecord], max_error_rate: float) -> DriftFigures | None:
    changed = [record for record in records if record.has_changed]
    if not changed:
        return None
    is_wrong = [record.is_wrong for record in changed if not record.is_exact]
    return DriftFigures(
        num_lookups=len(is_wrong),
        num_wrong=sum(is_wrong),
        num_wrong_by_block=tuple(sum(is_wrong[first : first + _BLOCK]) for first in range(0, len(is_wrong), _BLOCK)),
        num_until_under=num_until_under(is_wrong, max_error_rate),
        num_stale_exact_hits=sum(record.is_exact and record.error is ErrorKind.STALE for record in changed),
    )


def _label_counts(records: Sequence[LookupRecord]) -> LabelCounts:
    found = [record.labelling for record in records if record.labelling is not None]
    wrong = Counter(label.learned for label in found if label.learned is not None and label.learned != label.is_right)
    return LabelCounts(
        num=len(found),
        num_undecided=sum(label.learned is None for label in found),
        num_wrongly_equivalent=wrong[True],
        num_wrongly_different=wrong[False],
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
