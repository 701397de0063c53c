"""Times on the command line."""

import pytest

from penstock.cli.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("250ms", 0.25), ("30s", 30.0), ("2m", 120.0), ("1h", 3600.0), ("30d", 2592000.0), ("1.5", 1.5)],
)
def test_times_are_written_as_people_write_them(text: str, expected_s: float) -> None:
    """Milliseconds and minutes without zeros to count."""
    assert parse_duration(text) == expected_s


@pytest.mark.parametrize("text", ["", "0", "-1s", "nan", "inf", "5 parsecs", "3sm", "ms"])
def test_nonsense_says_what_is_allowed(text: str) -> None:
    """One line, before anything is done."""
    with pytest.raises(ValueError, match="allowed: a time above 0 like 250ms, 30s, 2m, 1h or 30d"):
        parse_duration(text)
