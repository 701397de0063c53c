"""What the semantic layer counts."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Tally:
    """Counts of one tenant since the start of the process.

    Attributes:
        num_lookups: that reached the semantic layer.
        num_hits: served by meaning.
        num_explorations: begun.
        num_labels, num_wrong_labels: explorations that were compared.
        num_audits, num_wrong_audits: those of them whose candidates were good enough to be served.
        num_failures: lookups that got the exact layer only, since the semantic one failed.
    """

    num_lookups: int = 0
    num_hits: int = 0
    num_explorations: int = 0
    num_labels: int = 0
    num_wrong_labels: int = 0
    num_audits: int = 0
    num_wrong_audits: int = 0
    num_failures: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """The counts of both."""
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))
