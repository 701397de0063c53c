"""Who may stay where not all fit: an entry that comes must be worth what has to go for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_cache.entries import ExactKey, ExportedEntry
from penstock_cache.frequency_sketch import FrequencySketch


@dataclass(frozen=True, slots=True)
class Resident:
    """An entry that may have to go; `row` is the database's."""

    row: int
    key: ExactKey
    entry_id: str
    tokens_saved: int
    size_bytes: int


class Admission:
    """TinyLFU (Einziger, Friedman & Manes 2017) with sizes (2021, "aggregated victims") and what a hit spares.

    An entry's worth is how often it was asked for lately, by key or by meaning, times the tokens that a hit spares.
    What is asked for once cannot drive out what is asked for again and again, however much of it comes.

    Args:
        sketch: counts what is asked for.
    """

    def __init__(self, sketch: FrequencySketch) -> None:
        self._sketch = sketch

    def asked(self, key: ExactKey) -> None:
        """A request has come, answered from here or not."""
        self._sketch.add(_name(key))

    def served(self, entry_id: str) -> None:
        """An entry was served by its meaning."""
        self._sketch.add(entry_id.encode())

    def cheapest(self, residents: Sequence[Resident], num_bytes: int) -> list[Resident]:
        """Those of the residents, worth least for their size, that have `num_bytes` together."""
        chosen: list[Resident] = []
        num_missing = num_bytes
        for resident in sorted(residents, key=lambda each: self._worth_of(each) / each.size_bytes):
            if num_missing <= 0:
                break
            chosen.append(resident)
            num_missing -= resident.size_bytes
        return chosen

    def is_worth(self, new: ExportedEntry, victims: Sequence[Resident]) -> bool:
        """Whether an entry is worth as much as those that have to go for it."""
        num_asked = new.num_uses + self._sketch.estimate(_name(new.entry.key))
        return _worth(num_asked, new.entry.tokens_saved) >= sum(self._worth_of(each) for each in victims)

    def _worth_of(self, resident: Resident) -> int:
        num_asked = self._sketch.estimate(_name(resident.key)) + self._sketch.estimate(resident.entry_id.encode())
        return _worth(num_asked, resident.tokens_saved)


def _worth(num_asked: int, tokens_saved: int) -> int:
    return (1 + num_asked) * (1 + tokens_saved)


def _name(key: ExactKey) -> bytes:
    return key.digest + key.tenant.encode()
