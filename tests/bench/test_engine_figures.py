"""Times of tokens become figures, and rounds become ratios."""

import pytest
from engine_bench.figures import Cell, Figures, cell_of, figures_of, ratio_to_best
from engine_bench.workloads import full_workloads


def _rounds(*rates: float) -> Cell:
    return cell_of([Figures(tokens_per_s=rate, ttft_ms=1.0, itl_ms=1.0) for rate in rates], "")


def test_rate_counts_all_tokens_over_the_time_to_the_last_one() -> None:
    """The wait for the first token is part of what a user gets."""
    assert figures_of([[1.0, 1.5, 2.0], [3.0, 3.25, 4.0]]) == Figures(
        tokens_per_s=6 / 4.0, ttft_ms=2000.0, itl_ms=500.0
    )


def test_ratio_is_taken_round_by_round_against_the_fastest_peer() -> None:
    """A machine that slows down in the middle of a run slows both, and the ratio stays."""
    peers = {"slow": _rounds(1, 1, 1), "fast": _rounds(100, 50, 10), "absent": Cell(reason="not installed")}
    assert ratio_to_best(_rounds(110, 55, 11), peers) == ("fast", pytest.approx(1.1))


def test_nothing_is_compared_with_peers_that_have_no_figure() -> None:
    """A ratio to nobody would look like a win."""
    assert ratio_to_best(_rounds(1), {"absent": Cell(reason="not installed")}) is None


def test_engine_that_failed_late_keeps_the_rounds_that_it_has() -> None:
    """They were measured; the reason stands beside them."""
    cell = cell_of([Figures(tokens_per_s=5.0, ttft_ms=1.0, itl_ms=1.0)], "no answer in 60 s")
    assert (cell.median is not None and cell.median.tokens_per_s, cell.reason) == (5.0, "no answer in 60 s")
    assert cell_of([], "").reason == "no time was left"


def test_rounds_have_prompts_of_equal_lengths_and_different_tokens() -> None:
    """A prefix cache that remembers the round before would win by it."""
    for workload in full_workloads():
        first, second = workload.prompts(1000, seed=1), workload.prompts(1000, seed=2)
        assert list(map(len, first)) == list(map(len, second))
        assert all(one[:16] != other[:16] for one, other in zip(first, second, strict=True))
        assert first == workload.prompts(1000, seed=1)


def test_shared_prefix_is_all_that_its_prompts_share() -> None:
    """Sixteen equal prompts would be answered from one."""
    prompts = full_workloads()[2].prompts(1000, seed=1)
    assert {tuple(prompt[:512]) for prompt in prompts} == {tuple(prompts[0][:512])}
    assert len({tuple(prompt) for prompt in prompts}) == 16
