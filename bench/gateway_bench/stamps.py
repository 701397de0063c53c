"""Times that travel as token ids, so that a client can tell how long a token was under way.

All processes are on one machine and share its monotonic clock.
"""

import time

_UNIT_NS = 10_000
# Wraps after 1.3 s, far beyond any latency here.
NUM_STAMPS = 1 << 17


def stamp_now() -> int:
    """A token id that says when it was made."""
    return time.monotonic_ns() // _UNIT_NS % NUM_STAMPS


def age_ms(stamp: int) -> float:
    """How long ago a stamp was made, in milliseconds."""
    return (stamp_now() - stamp) % NUM_STAMPS * _UNIT_NS / 1e6
