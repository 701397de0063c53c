"""Waiting for another process to write to shared memory."""

import os
import time
from collections.abc import Callable

# A peer that computes the same is done within microseconds; one of another stage within milliseconds.
_NUM_SPINS = 20_000
_NAP_S = 50e-6


def wait_until(is_reached: Callable[[], bool]) -> None:
    """Returns once it is so. Gives core and interpreter away meanwhile. For ever: a lifeline ends the process."""
    for _ in range(_NUM_SPINS):
        if is_reached():
            return
        os.sched_yield()
    while not is_reached():
        time.sleep(_NAP_S)
