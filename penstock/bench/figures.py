"""Counts: from the records of a run to its figures. Times in seconds."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.bench.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution in a few numbers, in the unit of its values."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Slo:
    """What an answer must keep to count as good, in seconds; None: no bound.

    Attributes:
        ttft_s: time to first token.
        itl_s: mean time per output token after the first.
        e2e_s: time to the end.
    """

    ttft_s: float | None = None
    itl_s: float | None = None
    e2e_s: float | None = None

    def is_met(self, record: RequestRecord) -> bool:
        """Whether the answer is whole and within every bound."""
        return (
            record.is_ok
            and _is_within(record.time_to_first_token_s, self.ttft_s)
            and _is_within(record.time_per_output_token_s, self.itl_s)
            and _is_within(record.end_to_end_s, self.e2e_s)
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to. Latencies are those of whole answers; None where there was none.

    Attributes:
        elapsed_s: of the whole run.
        num_requests: that ended, well or not.
        num_ok: that brought a whole answer.
        num_good: of those, within all SLOs.
        time_to_first_token_s: from when a request was due.
        inter_token_latency_s: between messages with tokens, over all answers.
        time_per_output_token_s: mean of each answer, over the answers.
        end_to_end_s: from when a request was due.
        num_prompt_tokens: of whole answers.
        num_output_tokens: received, those of broken answers included.
        errors: number of requests by gRPC code.
        error_messages: the first message of each code.
        cache: number of requests by outcome.
        replicas: number of requests by replica.
    """

    elapsed_s: float
    num_requests: int
    num_ok: int
    num_good: int
    time_to_first_token_s: Summary | None
    inter_token_latency_s: Summary | None
    time_per_output_token_s: Summary | None
    end_to_end_s: Summary | None
    num_prompt_tokens: int
    num_output_tokens: int
    errors: dict[str, int]
    error_messages: dict[str, str]
    cache: dict[str, int]
    replicas: dict[str, int]

    @property
    def requests_per_s(self) -> float:
        """Whole answers a second."""
        return self._per_s(self.num_ok)

    @property
    def output_tokens_per_s(self) -> float:
        """Tokens received a second."""
        return self._per_s(self.num_output_tokens)

    @property
    def goodput_per_s(self) -> float:
        """Answers within all SLOs a second."""
        return self._per_s(self.num_good)

    @property
    def good_share(self) -> float | None:
        """Share of all requests, failed ones included, that were answered within all SLOs; None of no request."""
        return self.num_good / self.num_requests if self.num_requests else None

    def _per_s(self, count: int) -> float:
        return count / self.elapsed_s if self.elapsed_s > 0 else 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie, linearly interpolated (numpy's default)."""
    position = (len(ordered) - 1) * share
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))


def summarize(values: Iterable[float | None]) -> Summary | None:
    """The distribution of the values that are there; None where none is."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    return Summary(
        count=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        max=ordered[-1],
    )


def compute_figures(records: Sequence[RequestRecord], slo: Slo, elapsed_s: float) -> Figures:
    """The figures of a run of `elapsed_s` seconds from the records of all requests that ended."""
    answers = [record for record in records if record.is_ok]
    failures = [record for record in records if not record.is_ok]
    return Figures(
        elapsed_s=elapsed_s,
        num_requests=len(records),
        num_ok=len(answers),
        num_good=sum(slo.is_met(record) for record in answers),
        time_to_first_token_s=summarize(record.time_to_first_token_s for record in answers),
        inter_token_latency_s=summarize(gap for record in answers for gap in record.gaps_s),
        time_per_output_token_s=summarize(record.time_per_output_token_s for record in answers),
        end_to_end_s=summarize(record.end_to_end_s for record in answers),
        num_prompt_tokens=sum(record.num_prompt_tokens for record in answers),
        num_output_tokens=sum(record.num_output_tokens for record in records),
        errors=_counted(record.code for record in failures),
        error_messages={record.code: record.message for record in reversed(failures)},
        cache=_counted(record.cache for record in records),
        replicas=_counted(record.replica for record in records),
    )


def _is_within(value: float | None, bound: float | None) -> bool:
    return bound is None or value is None or value <= bound


def _counted(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the most frequent first; the empty name is not counted."""
    return dict(Counter(filter(None, names)).most_common())
