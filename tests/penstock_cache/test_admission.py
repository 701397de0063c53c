"""Admission: what comes is worth what goes."""

import pytest
from fakes.cache_entries import entry, key

from penstock_cache.admission import Admission, Resident
from penstock_cache.entries import ExportedEntry
from penstock_cache.frequency_sketch import FrequencySketch


@pytest.fixture
def admission() -> Admission:
    """With room to tell all names apart."""
    return Admission(FrequencySketch(1024))


def resident(name: str, *, tokens_saved: int = 9, size_bytes: int = 100) -> Resident:
    """An entry that is there."""
    return Resident(ord(name), key(name), f"id of {name}", tokens_saved, size_bytes)


def new(name: str, *, tokens_saved: int = 9, num_uses: int = 0) -> ExportedEntry:
    """An entry that comes."""
    return ExportedEntry(entry(name, tokens_saved=tokens_saved), 1000.0, num_uses)


def test_who_was_asked_for_least_goes_first_by_key_or_by_meaning(admission: Admission) -> None:
    """A hit by meaning is as good as one by key; among equals the one of least priority goes."""
    for _ in range(2):
        admission.asked(key("a"))
    admission.served("id of b")
    residents = [resident(name) for name in "abcd"]
    assert [each.entry_id[-1] for each in admission.cheapest(residents, 250)] == ["c", "d", "b"]


def test_tokens_that_a_hit_spares_speak_for_an_entry_and_bytes_against_it(admission: Admission) -> None:
    """The budget is bytes, and what it buys is work that need not be done."""
    residents = [resident("a"), resident("b", tokens_saved=3), resident("c", size_bytes=300)]
    assert [each.entry_id[-1] for each in admission.cheapest(residents, 1)] == ["c"]
    assert [each.entry_id[-1] for each in admission.cheapest(residents, 400)] == ["c", "b"]


def test_an_entry_asked_for_once_does_not_drive_out_one_asked_for_twice(admission: Admission) -> None:
    """A scan of questions that nobody asks again leaves the cache as it was."""
    for name in ("a", "a", "b"):
        admission.asked(key(name))
    assert not admission.is_worth(new("b"), [resident("a")])
    assert admission.is_worth(new("b"), [resident("c")])
    admission.asked(key("b"))
    assert admission.is_worth(new("b"), [resident("a")])


def test_a_large_entry_is_weighed_against_all_that_it_drives_out(admission: Admission) -> None:
    """One answer in the place of ten is a loss unless it spares as much."""
    many = [resident(name) for name in "abcde"]
    assert not admission.is_worth(new("x"), many)
    assert admission.is_worth(new("x", tokens_saved=49), many)


def test_uses_that_an_import_tells_of_count(admission: Admission) -> None:
    """Nobody has asked for it here yet."""
    admission.asked(key("a"))
    assert not admission.is_worth(new("x"), [resident("a")])
    assert admission.is_worth(new("x", num_uses=1), [resident("a")])
