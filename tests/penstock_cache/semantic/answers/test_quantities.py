"""Numbers with their units, as answers write them."""

import pytest

from penstock_cache.semantic.answers.quantities import quantities_of, unmatched


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two weeks", "14 days"),
        ("24 months", "2 years"),
        ("one hour", "60 minutes"),
        ("3 p.m.", "15:00"),
        ("9am", "9:00"),
        ("\u00a312", "12 pounds"),
        ("165 million km\u00b2", "165,000,000 square kilometres"),
        ("21,196 km", "21196 kilometers"),
        ("twice a day", "2 times a day"),
        ("5 business days", "five working days"),
        ("on 8 May", "on May 8th"),
        ("36 months", "36"),  # a unit that is left out may be the same
    ],
)
def test_one_quantity_may_be_written_in_many_ways(one: str, other: str) -> None:
    """Else right answers would teach that they are wrong."""
    assert unmatched(quantities_of(one)[0], quantities_of(other)[0]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 a.m.", "3 p.m."),
        ("5 km", "5 miles"),
        ("5 MB", "5 GB"),
        ("100 \u00b0C", "100 \u00b0F"),
        ("-5", "5"),
        ("2 weeks", "2 days"),
    ],
)
def test_other_numbers_or_units_are_other_quantities(one: str, other: str) -> None:
    """Answers of near misses differ in nothing else."""
    assert len(unmatched(quantities_of(one)[0], quantities_of(other)[0])) == 1


def test_a_text_keeps_a_mark_where_a_quantity_was() -> None:
    """What stands beside which number is compared too."""
    found, text = quantities_of("Adults pay 12 euros, children 6.")
    assert [(each.value, each.unit) for each in found] == [(12.0, "\u20ac"), (6.0, "")]
    assert text.split() == ["Adults", "pay", "#0#", ",", "children", "#1#", "."]
