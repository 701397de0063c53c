"""Drafts by a second, smaller model of the same vocabulary."""

from array import array
from collections.abc import Sequence as ReadOnlyList
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from penstock_shared.errors import PenstockError
from penstock_worker.engine.drafter import DraftRequest
from penstock_worker.engine.model_runner import StepLogits
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.sequence import Sequence, empty_ids

# Sequences end without a word to the drafter; of so many it knows what it has computed.
_MAX_REMEMBERED = 256
# A new sequence's prompt is computed a part at a time, so that nobody's tokens are held up by it.
_MAX_CATCH_UP_TOKENS = 512


class DraftRunner(Protocol):
    """What is needed of a model runner."""

    def run(self, plan: StepPlan) -> StepLogits:
        """Computes the plan's chunks into the draft model's own KV cache."""
        ...


@dataclass(slots=True)
class _Computed:
    """Which keys and values of a sequence the draft model's cache holds.

    Attributes:
        num_starts: of the sequence, when they were computed; a later start may have other blocks.
        block_ids: where they are.
        token_ids: of what they are, drafts included.
    """

    num_starts: int = 0
    block_ids: "array[int]" = field(default_factory=empty_ids)
    token_ids: "array[int]" = field(default_factory=empty_ids)

    def num_valid(self, sequence: Sequence, block_size: int) -> int:
        """First tokens of `sequence` that need not be computed; never all, for the last one's logits are needed."""
        if self.num_starts != sequence.num_starts:
            return 0
        num_blocks = _num_equal(self.block_ids, sequence.block_ids)
        num_tokens = min(_num_equal(self.token_ids, sequence.token_ids), num_blocks * block_size)
        return min(num_tokens, len(sequence.token_ids) - 1)


class DraftModel:
    """Guesses what the smaller model would sample with the same random numbers, token after token.

    It has a KV cache of its own, with as many blocks as the target's: a sequence's keys and values lie in the blocks of
    the same numbers. So whatever the scheduler does to blocks holds for both. What was computed for blocks that a
    sequence shares is computed again where need be, and gives the same. The cache is zeroed once and holds numbers
    ever after.

    Args:
        runner: of the smaller model.
        block_size: tokens of a block.
        context_length: most tokens of a sequence that the smaller model can look at.
        sampler: samples as the target's does.
    """

    def __init__(self, runner: DraftRunner, *, block_size: int, context_length: int, sampler: Sampler) -> None:
        self._runner = runner
        self._block_size = block_size
        self._context_length = context_length
        self._sampler = sampler
        self._computed: dict[int, _Computed] = {}  # those asked for last stand last

    def draft(self, requests: ReadOnlyList[DraftRequest]) -> "list[array[int]]":
        """Samples up to the allowed number of tokens of each; none of one whose prompt it has not caught up with."""
        drafts = {request.sequence.key: empty_ids() for request in requests}
        drafting = [each for each in requests if len(each.sequence.token_ids) + each.max_tokens < self._context_length]
        while drafting:
            contexts = [sequence.with_drafts(drafts[sequence.key]) for sequence, _ in drafting]
            found = self._next_tokens(contexts)
            for key, token_id in found.items():
                drafts[key].append(token_id)
            drafting = [
                each
                for each in drafting
                if each.sequence.key in found and len(drafts[each.sequence.key]) < each.max_tokens
            ]
        self._forget_the_oldest()
        return list(drafts.values())

    def _next_tokens(self, contexts: list[Sequence]) -> dict[int, int]:
        """The token after each context, by key; computes a part of those that lack more than a step may compute."""
        chunks: list[Chunk] = []
        num_left = _MAX_CATCH_UP_TOKENS
        for context in contexts:
            chunk = self._chunk(context, num_left)
            if chunk.token_ids:
                num_left -= len(chunk.token_ids)
                chunks.append(chunk)
        if not chunks:
            return {}
        try:
            logits = self._runner.run(StepPlan(chunks, []))
        except Exception:
            for chunk in chunks:  # what it holds of them is anybody's guess
                del self._computed[chunk.key]
            raise
        with_logits = {chunk.key for chunk in chunks if chunk.num_logits_rows}
        complete = [context for context in contexts if context.key in with_logits]
        sampled = zip(complete, self._sampler.sample(logits.values, complete), strict=True)
        return {context.key: token.token_id for context, token in sampled if not isinstance(token, PenstockError)}

    def _chunk(self, context: Sequence, num_left: int) -> Chunk:
        """What is to be computed of a context, counted as computed from here on."""
        computed = self._computed.pop(context.key, None) or _Computed()
        self._computed[context.key] = computed
        start = computed.num_valid(context, self._block_size)
        end = min(len(context.token_ids), start + num_left)
        computed.num_starts = context.num_starts
        computed.block_ids, computed.token_ids = context.block_ids[:], context.token_ids[:end]
        is_complete = end == len(context.token_ids)
        return Chunk(context.key, context.token_ids[start:end], start, context.block_ids[:], int(is_complete))

    def _forget_the_oldest(self) -> None:
        while len(self._computed) > _MAX_REMEMBERED:
            del self._computed[next(iter(self._computed))]


def _num_equal(first: "array[int]", second: "array[int]") -> int:
    """Length of the common beginning."""
    num_both = min(len(first), len(second))
    if not num_both:
        return 0
    differs = np.frombuffer(first, np.int64)[:num_both] != np.frombuffer(second, np.int64)[:num_both]
    return int(differs.argmax()) if differs.any() else num_both
