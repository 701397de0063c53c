"""When the last replica of an old revision may go: when no request that was accepted for it is left."""

from collections.abc import Callable, Collection

# For gateways to hear that the revision gets no new requests, and for requests that they were just accepting.
_GRACE_S = 5.0


class RetiredRevisions:
    """Since when revisions get no new requests.

    Args:
        clock: monotonic seconds.
        grace_s: how long after that their last replica may go.
    """

    def __init__(self, clock: Callable[[], float], *, grace_s: float = _GRACE_S) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._since_s: dict[tuple[str, str], float] = {}

    def update(self, retired: Collection[tuple[str, str]]) -> None:
        """These models and revisions get no new requests now."""
        now_s = self._clock()
        self._since_s = {key: self._since_s.get(key, now_s) for key in retired}

    def released(self) -> set[tuple[str, str]]:
        """Those that no request is for any more."""
        latest_s = self._clock() - self._grace_s
        return {key for key, since_s in self._since_s.items() if since_s <= latest_s}
