"""What became of one request."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.bench.cache.cache_client import Outcome


class ErrorKind(StrEnum):
    """How far a wrong answer's class is from the right one."""

    FAMILY = "family"  # another class of the same family: a near miss
    DOMAIN = "domain"  # another family of the same domain
    ACROSS = "across"  # another domain
    STALE = "stale"  # the right class, with the answer that it had before a change
    FOREIGN = "foreign"  # nothing that this tenant ever stored


@dataclass(frozen=True, slots=True)
class Labelling:
    """What an exploration was taken to show.

    Attributes:
        is_right: whether the stored answer would have been right.
        learned: what the service took it for; None: for nothing.
    """

    is_right: bool
    learned: bool | None


@dataclass(frozen=True, slots=True)
class LookupRecord:
    """One request.

    Attributes:
        outcome: of its lookup.
        latency_s: of its lookup.
        error: what is wrong with the answer that was served; None: nothing, or none was served.
        is_servable: whether a right answer was stored, under whatever prompt.
        has_changed: whether the class has another answer than at first.
        labelling: where an exploration was reported.
        is_refused: whether its answer was not stored.
        reason: of the outcome, in the service's words.
    """

    outcome: Outcome
    latency_s: float
    error: ErrorKind | None
    is_servable: bool
    has_changed: bool
    labelling: Labelling | None = None
    is_refused: bool = False
    reason: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether the very same prompt had an answer: apart from all that is decided by meaning."""
        return self.outcome is Outcome.EXACT_HIT

    @property
    def is_hit(self) -> bool:
        """Whether an answer to another prompt was served."""
        return self.outcome is Outcome.SEMANTIC_HIT

    @property
    def is_wrong(self) -> bool:
        """Whether that was the wrong one."""
        return self.is_hit and self.error is not None
