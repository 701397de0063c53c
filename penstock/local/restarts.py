"""When a service that died is started again. Decides only; who waits is the caller."""

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 60.0


class RestartBackOff:
    """Doubles the delay at each death in a row. A service that ran steadily for a while begins anew."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def delay_s(self, *, ran_s: float) -> float:
        """How long to wait now, where the service ran for `ran_s` seconds before it died."""
        if ran_s >= STEADY_AFTER_S:
            self._delay_s = FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(LONGEST_DELAY_S, delay_s * 2)
        return delay_s
