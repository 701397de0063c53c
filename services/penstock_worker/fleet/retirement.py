"""When the last replica of an old revision may go: when no request that was accepted for it is left."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from penstock_shared.directory import RevisionKey
from penstock_worker.fleet.demand import DemandBoard

# For gateways that have not reported to this fleet yet, which may have just been restarted.
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Retired:
    since_s: float
    since_version: int


class RetiredRevisions:
    """Revisions that get no new requests.

    Args:
        board: what gateways have to do.
        clock: monotonic seconds.
        limit_s: after so long the last replica goes in any case.
        grace_s: before so long it does not.
    """

    def __init__(
        self, board: DemandBoard, clock: Callable[[], float], *, limit_s: float, grace_s: float = _GRACE_S
    ) -> None:
        self._board = board
        self._clock = clock
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._retired: dict[RevisionKey, _Retired] = {}

    def update(self, retired: Collection[RevisionKey], directory_version: int) -> None:
        """The directory of this version says that these get no new requests."""
        new = _Retired(self._clock(), directory_version)
        self._retired = {key: self._retired.get(key, new) for key in retired}

    def released(self) -> set[RevisionKey]:
        """Those that no request is for any more."""
        now_s = self._clock()
        return {key for key, retired in self._retired.items() if self._is_released(key, retired, now_s)}

    def _is_released(self, key: RevisionKey, retired: _Retired, now_s: float) -> bool:
        age_s = now_s - retired.since_s
        if age_s < self._grace_s:
            return False
        return age_s >= self._limit_s or not self._board.is_needed(key, retired.since_version)
