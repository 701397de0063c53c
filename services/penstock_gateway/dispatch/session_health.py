"""Whether a replica makes progress. Idle, busy and stalled are three different things."""

from collections.abc import Callable

HEARTBEAT_INTERVAL_S = 0.5
_MISSED_HEARTBEATS = 3
_SHORTEST_STALL_S = 3.0
_STALL_PER_PREDICTED = 8.0


class SessionHealth:
    """Judges one session by what it hears. Nothing counts while the replica is loading.

    Args:
        clock: monotonic seconds.
        check_interval_s: how often `verdict` is asked for. A judge that comes late may have slept through the
            heartbeats itself, so it gives the replica a fresh start.
        is_trusted: whether the replica is given work before its first good heartbeat; not after it has stalled.
    """

    def __init__(self, clock: Callable[[], float], *, check_interval_s: float, is_trusted: bool = True) -> None:
        self._clock = clock
        self._check_interval_s = check_interval_s
        self._heard_s = self._checked_s = clock()
        self._is_loading = False
        self._stall: str | None = None
        self.is_trusted = is_trusted

    def hear(self) -> None:
        """A message came."""
        self._heard_s = self._clock()

    def beat(self, *, is_loading: bool, step_age_s: float | None, predicted_s: float) -> None:
        """A heartbeat came.

        Args:
            is_loading: the engine is not ready for work yet.
            step_age_s: how long the step under way has been running; None while none is.
            predicted_s: how long it was predicted to take; 0 where nothing was.
        """
        self._is_loading = is_loading
        allowed_s = max(_SHORTEST_STALL_S, _STALL_PER_PREDICTED * predicted_s)
        is_stalled = step_age_s is not None and step_age_s > allowed_s and not is_loading
        self._stall = f"stalled: a step takes {step_age_s:.1f} s, over {allowed_s:.1f} s" if is_stalled else None
        self.is_trusted = not is_stalled

    def verdict(self) -> str | None:
        """Why the session must end; None while it is well."""
        now_s = self._clock()
        is_late = now_s - self._checked_s > 2 * self._check_interval_s
        self._checked_s = now_s
        if is_late or self._is_loading:
            self._heard_s = now_s
        if self._stall is not None:
            return self._stall
        if now_s - self._heard_s > _MISSED_HEARTBEATS * HEARTBEAT_INTERVAL_S:
            return f"dead: {_MISSED_HEARTBEATS} heartbeats missed"
        return None
