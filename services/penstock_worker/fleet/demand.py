"""What all gateways have to do, as each has told last. Pure: time is passed in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from penstock_shared.directory import RevisionKey

# A gateway tells twice a second. One that has not for so long is gone, or has nobody who could wait for it.
_EXPIRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests under way; fields as in `fleet.v1.RevisionDemand`."""

    num_requests: int = 0
    num_running: int = 0
    num_waiting: int = 0
    num_waiting_tokens: int = 0
    predicted_wait_s: float = 0.0
    placed_per_s: float = 0.0

    def __add__(self, other: "Demand") -> "Demand":
        """That of both; the longer wait."""
        return Demand(
            self.num_requests + other.num_requests,
            self.num_running + other.num_running,
            self.num_waiting + other.num_waiting,
            self.num_waiting_tokens + other.num_waiting_tokens,
            max(self.predicted_wait_s, other.predicted_wait_s),
            self.placed_per_s + other.placed_per_s,
        )


@dataclass(frozen=True, slots=True)
class _Report:
    at_s: float
    directory_version: int
    demand: Mapping[RevisionKey, Demand]


class DemandBoard:
    """The last report of each gateway that lives.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reports: dict[str, _Report] = {}

    def take(self, gateway_id: str, directory_version: int, demand: Mapping[RevisionKey, Demand]) -> None:
        """A gateway tells."""
        self._reports[gateway_id] = _Report(self._clock(), directory_version, demand)

    def total(self, model: str) -> Demand:
        """Of all gateways, for all revisions of a model."""
        total = Demand()
        for report in self._living():
            for (name, _), demand in report.demand.items():
                if name == model:
                    total += demand
        return total

    def is_needed(self, key: RevisionKey, since_version: int) -> bool:
        """Whether a gateway has requests for a revision, or may accept some: it goes by an older directory yet."""
        return any(
            report.directory_version < since_version or report.demand.get(key, Demand()).num_requests > 0
            for report in self._living()
        )

    def _living(self) -> Iterable[_Report]:
        earliest_s = self._clock() - _EXPIRY_S
        self._reports = {name: report for name, report in self._reports.items() if report.at_s >= earliest_s}
        return self._reports.values()
