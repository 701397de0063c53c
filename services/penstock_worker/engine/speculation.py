"""Speculation: drafted tokens are computed along with the last one, and kept as far as they are what is sampled.

A draft changes no output: at each drafted position the target's logits give the token that (seed, choice, position)
samples, and the draft is right only if it is that token (Leviathan et al. 2023, arXiv 2211.17192, with the random
number fixed). Drafts take what a step has left of its token budget and of the free blocks, and give back the blocks
that they did not fill; nobody waits or is preempted for them. Needs no torch.
"""

import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as ReadOnlyList
from typing import Protocol, TypeVar

from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger
from penstock_worker.engine.drafter import Drafter, DraftRequest
from penstock_worker.engine.pace import Pace
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import Sequence

_log = get_logger(__name__)


class Sampled(Protocol):
    """What is needed of a sampled token; `sampler.SampledToken`."""

    @property
    def token_id(self) -> int:
        """Which it is."""
        ...


SampledT = TypeVar("SampledT", bound=Sampled)


class Speculation:
    """Adds drafts to the plans of steps, and learns from what becomes of them.

    Args:
        drafter: guesses.
        scheduler: lends blocks.
        pace: decides on the length of drafts.
        max_step_tokens: token budget of a step.
        clock: seconds; measures the drafter.

    Attributes:
        num_drafted_tokens, num_accepted_tokens: how many tokens were guessed so far, and how many rightly.
    """

    def __init__(
        self,
        drafter: Drafter,
        scheduler: Scheduler,
        pace: Pace,
        *,
        max_step_tokens: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._drafter = drafter
        self._scheduler = scheduler
        self._max_step_tokens = max_step_tokens
        self._clock = clock
        self._pace = pace
        self._draft_s = 0.0
        self._num_accepted_in_step = 0
        self.num_drafted_tokens = 0
        self.num_accepted_tokens = 0

    def extend(self, plan: StepPlan, sequences: Mapping[int, Sequence]) -> StepPlan:
        """The plan with drafts behind the tokens of sequences that decode, where that is expected to pay."""
        started_s = self._clock()
        self._num_accepted_in_step = 0
        decoding = [sequences[chunk.key] for chunk in plan.chunks if _is_decode(chunk)]
        decoding = [sequence for sequence in decoding if sequence.request.constraint is None]  # masks are not foretold
        requests, lent_block_ids = self._requests(decoding, _num_tokens(plan), len(plan.chunks))
        drafts = dict(zip((request.sequence.key for request in requests), self._drafts(requests), strict=True))
        for sequence, _ in requests:
            self._scheduler.take_back(sequence, len(sequence.token_ids) + len(drafts[sequence.key]))
        self._draft_s = self._clock() - started_s
        self._pace.drafted(sum(map(len, drafts.values())), self._draft_s)
        chunks = [_extended(chunk, drafts.get(chunk.key), sequences) for chunk in plan.chunks]
        kept = {block_id for sequence, _ in requests for block_id in sequence.block_ids} if lent_block_ids else ()
        return StepPlan(chunks, plan.fresh_block_ids + [each for each in lent_block_ids if each in kept])

    def judged(self, sequence: Sequence, num_drafted: int, num_accepted: int) -> None:
        """So many of a sequence's drafted tokens were right. It has its new tokens already, or has ended."""
        self._pace.judged(sequence.drafts, num_drafted, num_accepted)
        self.num_drafted_tokens += num_drafted
        self.num_accepted_tokens += num_accepted
        self._num_accepted_in_step += num_accepted
        sequence.num_drafted_tokens += num_drafted
        sequence.num_accepted_tokens += num_accepted

    def took(self, plan: StepPlan, duration_s: float) -> None:
        """The step has taken so long, the drafting included."""
        num_chunks, num_rows = len(plan.chunks), _num_tokens(plan)
        if num_chunks and all(len(chunk.token_ids) == chunk.num_logits_rows for chunk in plan.chunks):
            self._pace.took(num_rows, max(duration_s - self._draft_s, 0.0))
            num_tokens = num_chunks + self._num_accepted_in_step
            self._pace.gave(num_chunks, num_tokens, duration_s, has_drafts=num_rows > num_chunks)

    def _drafts(self, requests: list[DraftRequest]) -> "list[array[int]]":
        try:
            return self._drafter.draft(requests) if requests else []
        except Exception:  # noqa: BLE001 nobody depends on a draft
            _log.exception("drafting failed", num_sequences=len(requests))
            return [array("q") for _ in requests]

    def _requests(
        self, decoding: ReadOnlyList[Sequence], num_tokens: int, num_chunks: int
    ) -> tuple[list[DraftRequest], list[int]]:
        """Who gets a draft, of what length, and the blocks that were lent for it."""
        requests: list[DraftRequest] = []
        fresh_block_ids: list[int] = []
        if not decoding or not self._pace.allows_drafts(num_chunks):
            return [], []
        num_left = self._max_step_tokens - num_tokens
        for sequence in decoding:
            room = min(num_left, sequence.max_total_tokens - len(sequence.token_ids) - 1)
            length = min(self._pace.length(sequence.drafts, num_chunks), room) if room > 0 else 0
            length, lent = self._scheduler.lend(sequence, length) if length else (0, [])
            if length:
                requests.append(DraftRequest(sequence, length))
                fresh_block_ids += lent
                num_left -= length
        return requests, fresh_block_ids


def taken_tokens(
    drafts: "array[int]", sampled: ReadOnlyList[SampledT | PenstockError]
) -> Iterator[SampledT | PenstockError]:
    """What a sequence gets of a step: each sampled token, up to the first that is not the one drafted there.

    Args:
        drafts: the drafted tokens.
        sampled: for each of them, what was sampled at its position; and what was sampled after the last.
    """
    for position, token in enumerate(sampled):
        yield token
        if isinstance(token, PenstockError) or position == len(drafts) or token.token_id != drafts[position]:
            return


def _is_decode(chunk: Chunk) -> bool:
    return len(chunk.token_ids) == chunk.num_logits_rows == 1


def _num_tokens(plan: StepPlan) -> int:
    return sum(len(chunk.token_ids) for chunk in plan.chunks)


def _extended(chunk: Chunk, draft: "array[int] | None", sequences: Mapping[int, Sequence]) -> Chunk:
    if not draft:
        return chunk
    block_ids = sequences[chunk.key].block_ids[:]
    return chunk._replace(
        token_ids=chunk.token_ids + draft, block_ids=block_ids, num_logits_rows=chunk.num_logits_rows + len(draft)
    )
