"""From records to figures."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.figures import Slo, Summary, compute_figures, percentile, summarize
from penstock.bench.record import RequestRecord


def answer(due_s: float, first_s: float, last_s: float, *, num_tokens: int = 5) -> RequestRecord:
    """An answer of `num_tokens` tokens, one a message and evenly spaced, that ends with its last one."""
    step_s = (last_s - first_s) / (num_tokens - 1)
    return RequestRecord(
        due_s=due_s,
        sent_s=due_s,
        ended_s=last_s,
        token_times_s=tuple(first_s + step_s * index for index in range(num_tokens)),
        token_counts=(1,) * num_tokens,
        num_prompt_tokens=10,
        replica="pocket-0",
        cache="bypassed",
    )


def failure(code: str, message: str) -> RequestRecord:
    """A request that was refused, without a token."""
    return RequestRecord(due_s=0.0, sent_s=0.0, ended_s=0.1, num_prompt_tokens=10, code=code, message=message)


def test_percentiles_of_known_values() -> None:
    """Interpolated between neighbours, as numpy does."""
    ordered = [float(value) for value in range(1, 102)]
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1.0, 51.0, 91.0, 100.0, 101.0]
    assert percentile([1.0, 2.0], 0.75) == 1.75
    assert percentile([3.0], 0.99) == 3.0


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=40))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    """An independent implementation sees the same."""
    quartiles = [percentile(sorted(values), share) for share in (0.25, 0.5, 0.75)]
    assert quartiles == pytest.approx(statistics.quantiles(values, n=4, method="inclusive"))


def test_summary_leaves_out_what_was_not_measured() -> None:
    """None is no zero."""
    assert summarize([3.0, None, 1.0]) == Summary(2, mean=2.0, p50=2.0, p90=2.8, p95=2.9, p99=2.98, max=3.0)
    assert summarize([None]) is None


def test_figures_of_a_known_run() -> None:
    """Two answers and two refusals in ten seconds, every number worked out by hand."""
    records = [
        answer(0.0, 0.5, 2.5),
        failure("RESOURCE_EXHAUSTED", "the queue is full"),
        answer(1.0, 2.0, 6.0),
        failure("RESOURCE_EXHAUSTED", "still full"),
    ]
    figures = compute_figures(records, Slo(), elapsed_s=10.0)
    assert (figures.num_requests, figures.num_ok, figures.num_good, figures.good_share) == (4, 2, 2, 0.5)
    assert figures.time_to_first_token_s == summarize([0.5, 1.0])
    assert figures.inter_token_latency_s == summarize([0.5] * 4 + [1.0] * 4)
    assert figures.time_per_output_token_s == summarize([0.5, 1.0])
    assert figures.end_to_end_s == summarize([2.5, 5.0])
    assert (figures.requests_per_s, figures.output_tokens_per_s, figures.goodput_per_s) == (0.2, 1.0, 0.2)
    assert (figures.num_prompt_tokens, figures.num_output_tokens) == (20, 10)
    assert figures.errors == {"RESOURCE_EXHAUSTED": 2}
    assert figures.error_messages == {"RESOURCE_EXHAUSTED": "the queue is full"}
    assert (figures.cache, figures.replicas) == ({"bypassed": 2}, {"pocket-0": 2})


def test_tokens_of_broken_answers_were_received_and_count_as_such() -> None:
    """Throughput is what came; latencies and requests a second are of whole answers."""
    broken = RequestRecord(0.0, 0.0, 3.0, token_times_s=(1.0,), token_counts=(4,), code="UNAVAILABLE")
    figures = compute_figures([broken], Slo(), elapsed_s=4.0)
    assert (figures.output_tokens_per_s, figures.requests_per_s) == (1.0, 0.0)
    assert figures.time_to_first_token_s is None


def test_nothing_sent_is_no_division_by_zero() -> None:
    """Ctrl-C may come at once."""
    figures = compute_figures([], Slo(), elapsed_s=0.0)
    assert (figures.requests_per_s, figures.good_share, figures.end_to_end_s) == (0.0, None, None)


@pytest.mark.parametrize(
    ("slo", "is_met"),
    [
        (Slo(ttft_s=1.0, itl_s=0.5, e2e_s=3.0), True),
        (Slo(ttft_s=0.99), False),
        (Slo(itl_s=0.49), False),
        (Slo(e2e_s=2.99), False),
        (Slo(), True),
    ],
)
def test_answer_is_good_within_every_bound(slo: Slo, is_met: bool) -> None:
    """First token after 1 s, then one each 0.5 s, end after 3 s; a bound that is reached is kept."""
    assert slo.is_met(answer(1.0, 2.0, 4.0)) is is_met


def test_failure_is_never_good() -> None:
    """Refusing at once must not look like a fast answer."""
    assert not Slo(ttft_s=1.0).is_met(failure("RESOURCE_EXHAUSTED", "full"))
