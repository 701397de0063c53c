"""What a replay is asked to do."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from penstock.bench.cache.traffic import ZIPF_EXPONENT, Traffic


class Labels(StrEnum):
    """How the service learns whether an explored answer was right."""

    CLASS = "class"  # it is told, by the classes
    PRODUCTION = "production"  # it compares the answers, each of which has words of its own


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """One run.

    Attributes:
        max_error_rate: what the cache is to keep.
        traffic: in which order prompts are asked.
        num_requests: how many; None: as many as the traffic has.
        seed: decides traffic, words, noise and drift; not the draws of the service.
        labels: how explorations are labelled.
        label_noise: share of explorations that are told to be what they are not.
        drift: share of the classes whose answer changes midway.
        is_compared: whether other policies replay the same.
    """

    max_error_rate: float
    traffic: Traffic
    num_requests: int | None
    seed: int
    labels: Labels
    label_noise: float
    drift: float
    is_compared: bool

    def to_fields(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"zipf_exponent": ZIPF_EXPONENT if self.traffic is Traffic.ZIPF else None}
