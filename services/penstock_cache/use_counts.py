"""Uses of entries that are not written yet."""

import threading
from collections import Counter

_MAX_ENTRIES = 10_000


class UseCounts:
    """Gathers uses, so that many cost one write. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, entry_id: str) -> None:
        """Counts a use; left out where too many entries wait for being written."""
        with self._lock:
            if len(self._counts) < _MAX_ENTRIES or entry_id in self._counts:
                self._counts[entry_id] += 1

    def take(self) -> Counter[str]:
        """All that was counted since the last time."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
            return taken
