"""By what a cache service decides whether it serves."""

from dataclasses import dataclass
from enum import StrEnum


class PolicyKind(StrEnum):
    """The fields of a lookup that decide."""

    MAX_ERROR_RATE = "max_error_rate"
    MIN_SIMILARITY = "min_similarity"
    MIN_SCORE = "min_score"


@dataclass(frozen=True, slots=True)
class Policy:
    """One of them and its value."""

    kind: PolicyKind
    value: float

    def __str__(self) -> str:
        return f"{self.kind} {self.value:g}"


_ERROR_RATES = (0.005, 0.01, 0.02, 0.03, 0.05)
_SIMILARITIES = (0.80, 0.84, 0.88, 0.91, 0.94, 0.97)
_SCORES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def policies_to_compare(max_error_rate: float) -> list[Policy]:
    """What a run with that bound is shown beside: other bounds, static similarities, the verifier without learning."""
    return [
        *(Policy(PolicyKind.MAX_ERROR_RATE, value) for value in _ERROR_RATES if value != max_error_rate),
        *(Policy(PolicyKind.MIN_SIMILARITY, value) for value in _SIMILARITIES),
        *(Policy(PolicyKind.MIN_SCORE, value) for value in _SCORES),
    ]
