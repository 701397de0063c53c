"""What one session has yet to be told of the prefix index. Synchronous."""

from penstock_shared.prefix_chain import HASH_BYTES
from penstock_worker.replica.messages import PrefixEvents, PrefixSnapshot
from penstock_worker.replica.prefix_journal import PrefixJournal

# A message is well under the transport's limit. An event has some bytes beside its hash.
_MAX_MESSAGE_BYTES = 1 << 20
MAX_MESSAGE_HASHES = _MAX_MESSAGE_BYTES // (HASH_BYTES + 8)


class PrefixFeed:
    """A session's place in the journal.

    It keeps no changes of its own, so a session that reads slowly costs nothing: it gets the changes that it has missed
    together, or a snapshot, where the journal has forgotten them.

    Args:
        journal: of the replica.
        max_message_hashes: most blocks that one message names.
    """

    def __init__(self, journal: PrefixJournal, max_message_hashes: int = MAX_MESSAGE_HASHES) -> None:
        self._journal = journal
        self._max_message_hashes = max_message_hashes
        self._number: int | None = None  # of the last change that was told
        self._rest: list[bytes] = []  # of a snapshot

    def __repr__(self) -> str:
        return f"PrefixFeed(change {self._number} of {self._journal.last_number}, {len(self._rest)} blocks to send)"

    @property
    def has_news(self) -> bool:
        """Whether there is something to say."""
        return bool(self._rest) or self._number != self._journal.last_number

    def restart(self) -> None:
        """Has a snapshot follow."""
        self._number = None
        self._rest = []

    def next_message(self) -> PrefixSnapshot | PrefixEvents:
        """The next part of what there is to say: of a snapshot that has begun, else changes, else a snapshot."""
        if self._rest and self._number is not None:
            return self._part(self._number, is_continuation=True)
        if self._number is None:
            return self.snapshot()
        changes = self._journal.changes_after(self._number, self._max_message_hashes)
        if changes is None:
            return self.snapshot()
        first_number = self._number + 1
        self._number += len(changes)
        return PrefixEvents(first_number, tuple(changes))

    def snapshot(self) -> PrefixSnapshot:
        """Begins with what there is now."""
        self._number = self._journal.last_number
        self._rest = self._journal.hashes()
        return self._part(self._number, is_continuation=False)

    def _part(self, number: int, *, is_continuation: bool) -> PrefixSnapshot:
        part, self._rest = self._rest[: self._max_message_hashes], self._rest[self._max_message_hashes :]
        return PrefixSnapshot(self._journal.block_size, number, tuple(part), is_continuation)
