"""A token bucket: how much may be used a minute, with a minute's worth to spare."""

# What the arithmetic of floating seconds may lose.
_EPSILON = 1e-6


class TokenBucket:
    """Fills steadily up to a minute's worth. May be in debt: what is used is counted, whether there was enough or not.

    Args:
        per_minute: what flows in, and the most that it holds.
        now_s: monotonic seconds, here as in all methods; the bucket begins full.
    """

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._filled_s = now_s

    def __repr__(self) -> str:
        return f"TokenBucket(level={self._level:.1f}/{self.per_minute})"

    def level(self, now_s: float) -> float:
        """What it holds; below zero: debt."""
        flowed_in = (now_s - self._filled_s) * self.per_minute / 60
        self._level = min(self.per_minute, self._level + flowed_in)
        self._filled_s = now_s
        return self._level

    def seconds_until(self, amount: int, now_s: float) -> float:
        """When it will hold `amount`, if nothing is taken; 0 where it does. More than it can ever hold: when full."""
        missing = min(amount, self.per_minute) - self.level(now_s)
        return missing * 60 / self.per_minute if missing > _EPSILON else 0.0

    def take(self, amount: float, now_s: float) -> None:
        """Takes `amount`, into debt if need be; a negative one is given back, up to what it can hold."""
        self._level = min(self.per_minute, self.level(now_s) - amount)

    def resize(self, per_minute: int, now_s: float) -> None:
        """Another size from now on. It holds what it held, as far as it can."""
        self._level = min(per_minute, self.level(now_s))
        self.per_minute = per_minute

    def check_invariants(self) -> None:
        """It never holds more than a minute's worth."""
        assert self.per_minute > 0
        assert self._level <= self.per_minute
