"""What crosses from the scheduler to the model runner: plain numbers, so that it can also cross to other processes."""

from array import array
from dataclasses import dataclass
from typing import NamedTuple

from penstock_worker.engine.pooling import Pooling
from penstock_worker.engine.scoring import Scoring


class Chunk(NamedTuple):
    """The tokens of one sequence that a step computes. A named tuple because a step makes one per sequence.

    Attributes:
        key: the sequence.
        token_ids: the tokens to compute, at least one; int64.
        start: position of the first of them; everything before it is in the blocks already.
        block_ids: the sequence's blocks, in order, enough for these tokens; int64.
        num_logits_rows: how many of these tokens, the last ones, are each to be followed by a sampled one.
        scoring: which prompt tokens are to be scored meanwhile.
        pooling: which vectors of these tokens are to be added up, for an embedding.
        adapter_id: the adapter that changes these tokens; 0 is none.
    """

    key: int
    token_ids: "array[int]"
    start: int
    block_ids: "array[int]"
    num_logits_rows: int
    scoring: Scoring | None = None
    pooling: Pooling | None = None
    adapter_id: int = 0

    @property
    def drafts(self) -> "array[int]":
        """The tokens that are only guessed: all that ask for logits but the first."""
        return self.token_ids[len(self.token_ids) + 1 - max(self.num_logits_rows, 1) :]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One engine step.

    Attributes:
        chunks: at most one per sequence.
        fresh_block_ids: blocks handed out for this step. The runner zeroes them first, so that nothing their last owner
            left (a NaN, say) reaches another sequence through the padding of a block.
    """

    chunks: list[Chunk]
    fresh_block_ids: list[int]
