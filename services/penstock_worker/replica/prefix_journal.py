"""What sessions can be told of the replica's prefix index: what is in it, and its latest changes. Synchronous."""

from collections import deque
from collections.abc import Iterable

from penstock_worker.engine.prefix_index import PrefixChange


class PrefixJournal:
    """Follows the engine's index by its changes, which are numbered from 1. One for all sessions.

    Args:
        block_size: tokens of a block.
        max_changes: how many of the latest changes are remembered. More than there are blocks would be in vain: whoever
            has missed that many is told sooner what there is.
    """

    def __init__(self, *, block_size: int, max_changes: int) -> None:
        self.block_size = block_size
        self.last_number = 0
        self._hashes: dict[bytes, None] = {}  # an ordered set: parents before children
        self._changes: deque[PrefixChange] = deque(maxlen=max_changes)

    def __repr__(self) -> str:
        return f"PrefixJournal({len(self._hashes)} blocks, change {self.last_number})"

    def take(self, changes: Iterable[PrefixChange]) -> None:
        """What has changed, in order."""
        for change in changes:
            if change.is_stored:
                self._hashes[change.block_hash] = None
            else:
                del self._hashes[change.block_hash]
            self._changes.append(change)
            self.last_number += 1

    def hashes(self) -> list[bytes]:
        """The names of all blocks in the index."""
        return list(self._hashes)

    def changes_after(self, number: int, max_changes: int) -> list[PrefixChange] | None:
        """The first changes after that of `number`, at most `max_changes`; None where they are not remembered."""
        num_missed = self.last_number - number
        if num_missed > len(self._changes):
            return None
        begin = len(self._changes) - num_missed
        return [self._changes[i] for i in range(begin, min(begin + max_changes, len(self._changes)))]
