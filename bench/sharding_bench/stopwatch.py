"""Takes the time of calls."""

import time
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """Adds up the time that calls take."""

    def __init__(self) -> None:
        self.total_s = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time taken."""

        def measured(*args: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args)
            finally:
                self.total_s += time.perf_counter() - begin

        return measured

    def lap_s(self) -> float:
        """Since the last lap."""
        total_s, self.total_s = self.total_s, 0.0
        return total_s
