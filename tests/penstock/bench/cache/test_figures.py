"""From records to figures, on records counted by hand."""

import pytest

from penstock.bench.cache.answers import Answers
from penstock.bench.cache.cache_client import Outcome
from penstock.bench.cache.figures import LabelCounts, ReplayFigures, compute_figures, num_until_under
from penstock.bench.cache.oracle import oracle_answered_rate, oracle_hit_rate
from penstock.bench.cache.paraphrases import Paraphrase
from penstock.bench.cache.record import ErrorKind, Labelling, LookupRecord


def record(
    outcome: Outcome,
    error: ErrorKind | None = None,
    *,
    labelling: Labelling | None = None,
    is_servable: bool = True,
    has_changed: bool = False,
    latency_s: float = 0.02,
) -> LookupRecord:
    """One request."""
    return LookupRecord(outcome, latency_s, error, is_servable, has_changed, labelling, reason="why")


RECORDS = [
    record(Outcome.MISS, is_servable=False),
    record(Outcome.EXACT_HIT, latency_s=0.001),
    record(Outcome.EXACT_HIT, ErrorKind.STALE, latency_s=0.001),
    record(Outcome.SEMANTIC_HIT),
    record(Outcome.SEMANTIC_HIT),
    record(Outcome.SEMANTIC_HIT, ErrorKind.FAMILY),
    record(Outcome.SEMANTIC_HIT, ErrorKind.ACROSS, latency_s=0.04),
    record(Outcome.EXPLORE, labelling=Labelling(is_right=True, learned=False)),
    record(Outcome.EXPLORE, labelling=Labelling(is_right=False, learned=True)),
    record(Outcome.EXPLORE, labelling=Labelling(is_right=True, learned=True)),
    record(Outcome.EXPLORE, labelling=Labelling(is_right=True, learned=None)),
]


def figures_of(records: list[LookupRecord]) -> ReplayFigures:
    """Where the service has compared all but one of those that were no exact hits."""
    num_others = sum(not each.is_exact for each in records)
    return compute_figures(records, num_semantic_lookups=max(0, num_others - 1), max_error_rate=0.01)


def test_rates_have_the_denominators_that_they_are_defined_by() -> None:
    """Hits among what is no exact repeat; errors among lookups that were compared by meaning; wrong among hits."""
    figures = figures_of(RECORDS)
    assert (figures.num_requests, figures.num_exact_hits, figures.num_semantic_lookups) == (11, 2, 8)
    assert (figures.num_hits, figures.num_wrong, figures.num_explorations, figures.num_misses) == (4, 2, 4, 1)
    assert figures.miss_reasons == {"why": 1}
    assert figures.hit_rate == pytest.approx(4 / 9)
    assert figures.servable_rate == pytest.approx(8 / 9)
    assert figures.answered_rate == pytest.approx(6 / 11)
    assert (figures.error_rate, figures.wrong_per_served, figures.precision) == (2 / 8, 0.5, 0.5)
    assert figures.errors == {"family": 1, "domain": 0, "across": 1, "stale": 0, "foreign": 0}


def test_labels_are_held_against_the_classes() -> None:
    """A comparison of answers errs in both ways, and sometimes does not know."""
    assert figures_of(RECORDS).labels == LabelCounts(4, 1, 1, 1)


def test_exact_hits_have_latencies_of_their_own() -> None:
    """They are twenty times faster."""
    figures = figures_of(RECORDS)
    assert figures.exact_latency_s is not None
    assert figures.latency_s is not None
    assert (figures.exact_latency_s.max, figures.latency_s.p50, figures.latency_s.max) == (0.001, 0.02, 0.04)


def test_nothing_has_no_rates() -> None:
    """No zero that looks like a result."""
    figures = figures_of([])
    assert (figures.hit_rate, figures.error_rate, figures.wrong_per_served, figures.precision) == (None,) * 4
    assert figures.latency_s is None
    assert figures.error_interval == (0.0, 1.0)


def test_changed_answers_are_counted_by_themselves() -> None:
    """How long the old ones are served is the question."""
    stale = record(Outcome.SEMANTIC_HIT, ErrorKind.STALE, has_changed=True)
    fresh = record(Outcome.SEMANTIC_HIT, has_changed=True)
    exact = record(Outcome.EXACT_HIT, ErrorKind.STALE, has_changed=True)
    drift = figures_of([*RECORDS, stale, exact, stale, *[fresh] * 99, stale, *[fresh] * 100]).drift
    assert drift is not None
    assert (drift.num_lookups, drift.num_wrong, drift.num_stale_exact_hits) == (202, 3, 1)
    assert drift.num_wrong_by_block == (2, 1, 0)
    assert drift.num_until_under == 1
    assert figures_of(RECORDS).drift is None


@pytest.mark.parametrize(
    ("errors", "rate", "expected"),
    [("00000", 0.0, 0), ("11000", 0.0, 2), ("11000", 0.25, 1), ("00001", 0.0, 5), ("", 0.01, 0)],
)
def test_under_means_that_all_that_follows_is_under(errors: str, rate: float, expected: int) -> None:
    """A good stretch before the next errors does not count."""
    assert num_until_under([error == "1" for error in errors], rate) == expected


def test_oracle_hits_all_but_the_first_prompt_of_each_answer_and_its_repeats() -> None:
    """Exact repeats are no matter of meaning, and a changed answer is another one."""
    one, other, alone = (Paraphrase(text, name, "f", "d") for text, name in (("a1", "a"), ("a2", "a"), ("b1", "b")))
    traffic = [one, one, other, other, alone, one, other]
    unchanged = Answers({}, changing=[], change_at=0, is_reworded=False, seed=0)
    changing = Answers({}, changing=["a"], change_at=5, is_reworded=False, seed=0)
    assert oracle_hit_rate(traffic, unchanged) == 3 / 5
    assert oracle_hit_rate(traffic, changing) == 3 / 6
    assert oracle_hit_rate([], unchanged) is None
    assert (oracle_answered_rate(traffic, unchanged), oracle_answered_rate(traffic, changing)) == (5 / 7, 4 / 7)
