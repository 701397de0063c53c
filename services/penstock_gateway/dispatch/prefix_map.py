"""What one replica has computed already, as far as it has told."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_shared.prefix_chain import CHAIN_FUNCTION


class PrefixMap:
    """The names of a replica's cached blocks: a snapshot, kept up by numbered changes.

    Where count is lost it knows nothing until the next snapshot: a help in routing, and a wrong one is worse than none.

    Args:
        chain_function: how the replica names blocks; of any but our own, nothing is known.
        revision: of the replica's model.
        block_size: tokens of a block.
        max_blocks: the replica has no more.
    """

    def __init__(self, *, chain_function: str, revision: str, block_size: int, max_blocks: int) -> None:
        self._is_readable = chain_function == CHAIN_FUNCTION and block_size > 0
        self._revision = revision
        self._block_size = block_size
        self._max_blocks = max_blocks
        self._hashes: set[bytes] = set()
        self._number: int | None = None  # of the last change that is in

    def __repr__(self) -> str:
        return f"PrefixMap({len(self)} blocks, change {self._number})"

    def __len__(self) -> int:
        return len(self._hashes)

    def take_snapshot(self, number: int, hashes: Iterable[bytes], *, is_continuation: bool) -> None:
        """All blocks as of change `number`; or, as a continuation, more of them."""
        if not self._is_readable or (is_continuation and number != self._number):
            return
        if not is_continuation:
            self._hashes.clear()
            self._number = number
        self._hashes.update(hashes)
        if len(self._hashes) > self._max_blocks:
            self._lose_count()

    def take_changes(self, first_number: int, changes: Iterable[tuple[bytes, bool]]) -> bool:
        """Changes in order, each a name and whether it was stored. False where count is lost by them."""
        if self._number is None:
            return True
        if first_number != self._number + 1:
            self._lose_count()
            return False
        for block_hash, is_stored in changes:
            if is_stored:
                self._hashes.add(block_hash)
            else:
                self._hashes.discard(block_hash)
            self._number += 1
        if len(self._hashes) > self._max_blocks:
            self._lose_count()
            return False
        return True

    def num_found_tokens(self, prompt: PromptNames) -> int:
        """How many tokens of a prompt, from its beginning, the replica need not compute."""
        if not self._hashes:
            return 0
        hashes = prompt.hashes(self._revision, self._block_size)
        return self._num_found(hashes) * self._block_size

    def _num_found(self, hashes: Sequence[bytes]) -> int:
        """A replica keeps no block without those before it, so the first that is missing can be searched for."""
        return bisect_left(range(len(hashes)), 1, key=lambda position: hashes[position] not in self._hashes)

    def _lose_count(self) -> None:
        self._hashes.clear()
        self._number = None
