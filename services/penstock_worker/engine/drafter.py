"""Who guesses the next tokens of sequences. A wrong guess costs time and changes nothing. Needs no torch."""

from array import array
from collections.abc import Sequence as ReadOnlyList
from typing import NamedTuple, Protocol

from penstock_worker.engine.sequence import Sequence


class DraftRequest(NamedTuple):
    """A sequence that decodes, and how many tokens of it may be guessed at most; it has the blocks for them."""

    sequence: Sequence
    max_tokens: int


class Drafter(Protocol):
    """Guesses tokens."""

    def draft(self, requests: ReadOnlyList[DraftRequest]) -> "list[array[int]]":
        """The likely next tokens of each sequence, at most as many as allowed; none where it has no idea."""
        ...
