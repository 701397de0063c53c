"""Drafts by looking back: what followed the last tokens when they stood in prompt or output before.

Saxena 2023, "Prompt lookup decoding" (github.com/apoorvumang/prompt-lookup-decoding).
"""

from array import array
from collections.abc import Sequence as ReadOnlyList

from penstock_worker.engine.drafter import DraftRequest

# A match of four tokens is worth more than a later one of two; one token alone says next to nothing.
_LONGEST_MATCH = 4
_SHORTEST_MATCH = 2
_TOKEN_BYTES = array("q").itemsize


class PromptLookup:
    """Copies what followed the latest earlier occurrence of a sequence's last tokens. Keeps nothing between steps."""

    def draft(self, requests: ReadOnlyList[DraftRequest]) -> "list[array[int]]":
        """The tokens after the longest match, the latest of those; none without a match."""
        return [continuation(sequence.token_ids, max_tokens) for sequence, max_tokens in requests]


def continuation(token_ids: "array[int]", max_tokens: int) -> "array[int]":
    """What followed the last tokens of `token_ids` when they stood there before; a period is continued."""
    earlier = token_ids[:-1].tobytes()  # ends before the last token: so a match is followed by something
    for num_tokens in range(min(_LONGEST_MATCH, len(token_ids) - 1), _SHORTEST_MATCH - 1, -1):
        end = _end_of_last(earlier, token_ids[-num_tokens:].tobytes())
        if end is not None:
            return _copied(token_ids, end // _TOKEN_BYTES, max_tokens)
    return array("q")


def _end_of_last(haystack: bytes, needle: bytes) -> int | None:
    """End of the last occurrence that begins at a token, in bytes."""
    end = len(haystack)
    while (begin := haystack.rfind(needle, 0, end)) >= 0:
        if begin % _TOKEN_BYTES == 0:
            return begin + len(needle)
        end = begin + len(needle) - 1
    return None


def _copied(token_ids: "array[int]", begin: int, max_tokens: int) -> "array[int]":
    copied = token_ids[begin : begin + max_tokens]
    while len(copied) < max_tokens:  # the match lies so near the end that the copy runs into itself
        copied.extend(copied[: max_tokens - len(copied)])
    return copied
