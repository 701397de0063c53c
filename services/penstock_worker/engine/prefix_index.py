"""Which blocks hold keys and values that can be used again, by the names of their tokens. Needs no torch.

A block is kept only while its parent is, so a chain that is found is found from its beginning on.
"""

from collections.abc import Container, Iterable
from typing import NamedTuple

from penstock_shared.prefix_chain import PrefixBlock


class PrefixChange(NamedTuple):
    """The block of this name can be found from now on, or no more."""

    block_hash: bytes
    is_stored: bool


class _Kept(NamedTuple):
    """What a block holds, and the block that holds what goes before it; None for a first block."""

    block: PrefixBlock
    parent_id: int | None


class PrefixIndex:
    """Finds blocks by name. A name is trusted only where tokens and parent agree too: hashes may collide."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._kept: dict[int, _Kept] = {}  # in the order of keeping: parents before children
        self._changes: list[PrefixChange] = []

    def __repr__(self) -> str:
        return f"PrefixIndex({len(self._kept)} blocks)"

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, block_id: int) -> bool:
        return block_id in self._kept

    def find(self, blocks: Iterable[PrefixBlock]) -> list[int]:
        """The blocks that hold the longest known beginning of a chain, in order."""
        found: list[int] = []
        parent_id = None
        for block in blocks:
            block_id = self._ids.get(block.hash)
            if block_id is None or self._kept[block_id] != (block, parent_id):
                break
            found.append(block_id)
            parent_id = block_id
        return found

    def keep(self, block: PrefixBlock, block_id: int, parent_id: int | None) -> int | None:
        """Makes a block that has been computed findable.

        Args:
            block: what it holds.
            block_id: which it is.
            parent_id: the block that holds what goes before; None for a first block.

        Returns:
            The block that holds it: this one or, where it is known already, that one. None where it cannot be kept: its
            parent is not, or its name is taken by other tokens.
        """
        if parent_id is not None and parent_id not in self._kept:
            return None
        kept = _Kept(block, parent_id)
        known_id = self._ids.setdefault(block.hash, block_id)
        if known_id != block_id:
            return known_id if self._kept[known_id] == kept else None
        self._kept[block_id] = kept
        self._changes.append(PrefixChange(block.hash, is_stored=True))
        return block_id

    def remove(self, block_id: int) -> None:
        """Forgets a block whose children are forgotten already."""
        block_hash = self._kept.pop(block_id).block.hash
        del self._ids[block_hash]
        self._changes.append(PrefixChange(block_hash, is_stored=False))

    def remove_chains(self, block_ids: Container[int]) -> list[int]:
        """Forgets these blocks and all that follows on them; returns what was forgotten."""
        removed: dict[int, None] = {}  # an ordered set
        for block_id, kept in self._kept.items():
            if block_id in block_ids or kept.parent_id in removed:
                removed[block_id] = None
        for block_id in reversed(removed):
            self.remove(block_id)
        return list(removed)

    def take_changes(self) -> list[PrefixChange]:
        """What has changed since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def check_invariants(self) -> None:
        """Raises AssertionError where the books do not agree."""
        if self._ids != {kept.block.hash: block_id for block_id, kept in self._kept.items()}:
            raise AssertionError("names and blocks differ")
        seen: set[int] = set()
        for block_id, kept in self._kept.items():
            if kept.parent_id is not None:
                if kept.parent_id not in seen:
                    raise AssertionError(f"block {block_id} is kept, its parent {kept.parent_id} is not")
                if self._kept[kept.parent_id].block.hash != kept.block.parent_hash:
                    raise AssertionError(f"block {block_id} follows on another block than {kept.parent_id}")
            seen.add(block_id)
