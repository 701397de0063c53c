"""A model runner without a model: it keeps tokens in blocks as the real one keeps keys and values.

What it predicts is a function of the whole context, read back through the block table. So a wrong table, a block that
two sequences write, or a token computed at the wrong place changes the output.
"""

import torch

from penstock_worker.engine.model_runner import StepLogits
from penstock_worker.engine.plan import Chunk, StepPlan


def next_token_id(context: list[int], vocab_size: int) -> int:
    """The token that the fake model predicts after `context`."""
    state = 17
    for position, token_id in enumerate(context):
        state = (state * 31 + token_id * (position + 7)) % 1_000_003
    return state % vocab_size


class PagedRunner:
    """Passes for a `ModelRunner`. `num_failures` steps raise before the next one succeeds."""

    def __init__(self, *, vocab_size: int, block_size: int) -> None:
        self.num_failures = 0
        self.plans: list[StepPlan] = []
        self._vocab_size = vocab_size
        self._block_size = block_size
        self._memory: dict[tuple[int, int], int] = {}
        self._guessed: set[tuple[int, int]] = set()  # slots that may be written again

    def run(self, plan: StepPlan) -> StepLogits:
        """Computes the plan's chunks."""
        self.plans.append(plan)
        if self.num_failures:
            self.num_failures -= 1
            raise RuntimeError("the device is on fire")
        for block_id in plan.fresh_block_ids:
            self._clear(block_id)
        for chunk in plan.chunks:
            self._write(chunk)
        contexts = [context for chunk in plan.chunks for context in self._contexts(chunk)]
        predicted = torch.tensor([next_token_id(context, self._vocab_size) for context in contexts], dtype=torch.int64)
        return StepLogits(torch.nn.functional.one_hot(predicted, self._vocab_size).float())

    def _clear(self, block_id: int) -> None:
        for offset in range(self._block_size):
            self._memory.pop((block_id, offset), None)
            self._guessed.discard((block_id, offset))

    def _write(self, chunk: Chunk) -> None:
        first_guessed = chunk.start + len(chunk.token_ids) - len(chunk.drafts)
        for position, token_id in enumerate(chunk.token_ids, chunk.start):
            slot = self._slot(chunk, position)
            assert slot not in self._memory or slot in self._guessed, f"slot {slot} is written twice"
            self._memory[slot] = token_id
            self._guessed.discard(slot)
            if position >= first_guessed:
                self._guessed.add(slot)

    def _contexts(self, chunk: Chunk) -> list[list[int]]:
        """What precedes each token that the chunk asks logits for."""
        end = chunk.start + len(chunk.token_ids)
        tokens = [self._memory[self._slot(chunk, position)] for position in range(end)]
        return [tokens[: length + 1] for length in range(end - chunk.num_logits_rows, end)]

    def _slot(self, chunk: Chunk, position: int) -> tuple[int, int]:
        return chunk.block_ids[position // self._block_size], position % self._block_size
