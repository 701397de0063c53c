"""Drafters that know what the fake model will say."""

from array import array
from collections.abc import Sequence as ReadOnlyList

from fakes.paged_runner import next_token_id
from penstock_worker.engine.drafter import DraftRequest


class OracleDrafter:
    """Guesses rightly what `PagedRunner` predicts, but for one token in so many."""

    def __init__(self, *, vocab_size: int, one_wrong_in: int) -> None:
        self._vocab_size = vocab_size
        self._one_wrong_in = one_wrong_in
        self.requests: list[DraftRequest] = []

    def draft(self, requests: ReadOnlyList[DraftRequest]) -> "list[array[int]]":
        """As many tokens as allowed."""
        self.requests += requests
        return [self._draft(list(sequence.token_ids), max_tokens) for sequence, max_tokens in requests]

    def _draft(self, context: list[int], max_tokens: int) -> "array[int]":
        draft = array("q")
        for _ in range(max_tokens):
            is_wrong = len(context) % self._one_wrong_in == 0
            token_id = (next_token_id(context, self._vocab_size) + is_wrong) % self._vocab_size
            context.append(token_id)
            draft.append(token_id)
        return draft
