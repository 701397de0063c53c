"""Lengths as they are written on the command line."""

import random
from statistics import median

import pytest

from penstock.bench.lengths import LognormalLengths, UniformLengths, parse_lengths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200", UniformLengths(200, 200)),
        ("64-256", UniformLengths(64, 256)),
        ("lognormal:200,0.6", LognormalLengths(200.0, 0.6)),
    ],
)
def test_text_names_a_distribution_and_back(text: str, expected: object) -> None:
    """What a report says can be pasted into the next command."""
    assert parse_lengths(text) == expected
    assert str(parse_lengths(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0", "0-4", "9-3", "-5", "ten", "lognormal:", "lognormal:5", "lognormal:0,1", "lognormal:9,-1",
             "lognormal:nan,1", "lognormal:inf,1"],
)  # fmt: skip
def test_nonsense_says_what_is_allowed(text: str) -> None:
    """A typo must not become a load of another kind."""
    with pytest.raises(ValueError, match=r"allowed: a number \(200\), a range \(64-256\), or lognormal:MEDIAN,SIGMA"):
        parse_lengths(text)


def test_uniform_reaches_both_ends_and_nothing_else() -> None:
    """The range means what it says."""
    rng = random.Random(0)
    assert {UniformLengths(3, 6).draw(rng) for _ in range(200)} == {3, 4, 5, 6}


def test_lognormal_has_its_median_and_its_long_tail() -> None:
    """The parameter is the median, which people can picture, and not the mean of the logarithm."""
    rng = random.Random(0)
    drawn = [LognormalLengths(200, 0.6).draw(rng) for _ in range(4000)]
    assert 190 < median(drawn) < 210
    # One in 44 lies beyond two sigmas: 200 * exp(1.2) = 664.
    assert 60 < sum(length > 664 for length in drawn) < 125


def test_lognormal_is_never_empty() -> None:
    """No request without tokens."""
    rng = random.Random(0)
    assert min(LognormalLengths(1, 3).draw(rng) for _ in range(100)) == 1
