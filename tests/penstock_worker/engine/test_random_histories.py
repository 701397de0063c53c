"""Random histories of add, fork, cancel, fail and step, in pools so small that it takes preemptions and evictions.

The books always agree, and every output is what it would be alone: with the prefix cache, without it, and with one
whose names collide all the time; and with drafts, whatever part of them is right.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from fakes.drafters import OracleDrafter
from fakes.paged_runner import PagedRunner, next_token_id
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock_shared.prefix_chain import PrefixBlock
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.fixed_pace import FixedPace
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.engine.speculation import Speculation
from penstock_worker.engine.validation import EngineLimits

VOCAB_SIZE = 13
EOS_TOKEN_ID = 3

LIMITS = st.builds(
    lambda max_running, max_tokens, block_size, num_blocks: EngineLimits(
        max_running_sequences=max_running,
        max_step_tokens=max_tokens,
        context_length=min(24, block_size * num_blocks),
        block_size=block_size,
        num_blocks=num_blocks,
    ),
    max_running=st.integers(1, 5),
    max_tokens=st.integers(1, 9),
    block_size=st.integers(1, 4),
    num_blocks=st.integers(4, 14),
)


@dataclass(frozen=True)
class Add:
    """Adds the choices of a request; lengths are shares of what the engine's limits allow.

    The first `common_share` of the prompt is the beginning of an earlier sequence, prompt and output, or else of what
    many begin with.
    """

    prompt_share: float
    common_share: float
    earlier: int
    num_choices: int
    max_tokens: int
    num_resumed: int
    criticality: int
    min_tokens: int
    salt: bytes
    is_scored: bool


@dataclass(frozen=True)
class Cancel:
    """Cancels one of the sequences that were added, running or not."""

    choice: int


@dataclass(frozen=True)
class Fail:
    """Has the model fail at its next step."""


@dataclass(frozen=True)
class Step:
    """Lets the engine do some steps."""

    num_steps: int


Event = Add | Cancel | Fail | Step

ADDS = st.builds(
    Add,
    prompt_share=st.floats(0, 1),
    common_share=st.floats(0, 1),
    earlier=st.integers(0, 30),
    num_choices=st.sampled_from([1, 1, 1, 2, 3]),
    max_tokens=st.integers(1, 16),
    num_resumed=st.integers(0, 3),
    criticality=st.integers(1, 3),
    min_tokens=st.integers(0, 2),
    salt=st.sampled_from([b"", b"", b"", b"other"]),
    is_scored=st.sampled_from([False, False, False, True]),
)
HISTORIES = st.lists(
    st.one_of(
        ADDS,
        ADDS,
        st.builds(Cancel, choice=st.integers(0, 30)),
        st.builds(Step, num_steps=st.integers(1, 4)),
        st.builds(Step, num_steps=st.integers(1, 4)),
        st.builds(Fail),
    ),
    min_size=1,
    max_size=30,
)


class CollidingIndex(PrefixIndex):
    """An index in which there are two names for all blocks."""

    def find(self, blocks: Iterable[PrefixBlock]) -> list[int]:
        """Looks for a chain of blocks by names that tell next to nothing."""
        return super().find(_weakly_named(block, is_first=i == 0) for i, block in enumerate(blocks))

    def keep(self, block: PrefixBlock, block_id: int, parent_id: int | None) -> int | None:
        """Keeps a block by a name that tells next to nothing."""
        return super().keep(_weakly_named(block, is_first=parent_id is None), block_id, parent_id)


def _weakly_named(block: PrefixBlock, *, is_first: bool) -> PrefixBlock:
    parent_hash = block.parent_hash if is_first else _weak(block.parent_hash)
    return PrefixBlock(_weak(block.hash), parent_hash, block.token_bytes)


def _weak(block_hash: bytes) -> bytes:
    return bytes([block_hash[0] % 2])


@dataclass
class History:
    """An engine with a fake model, and what was asked of it and came out."""

    limits: EngineLimits
    index: PrefixIndex | None
    one_wrong_in: int | None = None  # of so many drafted tokens one is wrong; None: nothing is drafted
    requests: dict[int, SequenceRequest] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    outputs: dict[int, list[SequenceOutput]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pool = BlockPool(self.limits.num_blocks, self.limits.block_size, self.index)
        self.runner = PagedRunner(vocab_size=VOCAB_SIZE, block_size=self.limits.block_size)
        scheduler = Scheduler(
            pool,
            max_running_sequences=self.limits.max_running_sequences,
            max_step_tokens=self.limits.max_step_tokens,
        )
        self.engine = Engine(
            scheduler=scheduler,
            runner=self.runner,
            sampler=Sampler(),
            limits=self.limits,
            vocab_size=VOCAB_SIZE,
            eos_token_ids=frozenset({EOS_TOKEN_ID}),
            speculation=self._speculation(scheduler),
        )

    def _speculation(self, scheduler: Scheduler) -> Speculation | None:
        if self.one_wrong_in is None:
            return None
        drafter = OracleDrafter(vocab_size=VOCAB_SIZE, one_wrong_in=self.one_wrong_in)
        return Speculation(drafter, scheduler, FixedPace(MAX_DRAFT_TOKENS), max_step_tokens=self.limits.max_step_tokens)

    def play(self, event: Event) -> None:
        """Does one thing to the engine."""
        match event:
            case Add():
                self._add(event)
            case Cancel():
                self._cancel(event.choice)
            case Fail():
                self.runner.num_failures = 1
            case Step():
                for _ in range(event.num_steps):
                    self._step()
        self.engine.check_invariants()

    def finish(self) -> None:
        """Steps until nothing is left. Each step computes at least one token of the first in line."""
        num_tokens = sum(len(request.prompt_token_ids) + 16 for request in self.requests.values())
        for _ in range(num_tokens * (1 + len(self.requests))):
            if not self.engine.has_work:
                break
            assert self._step() > 0, "a step with work did nothing"
            self.engine.check_invariants()
        assert not self.engine.has_work

    def _add(self, event: Add) -> None:
        prompt = self._prompt(event)
        sampling = SamplingOptions(max_tokens=event.max_tokens, min_tokens=event.min_tokens)
        alone, _ = expected_output(SequenceRequest(key=0, prompt_token_ids=prompt, sampling=sampling), self.limits)
        for choice_index in range(event.num_choices):
            key = len(self.requests)
            request = SequenceRequest(
                key=key,
                prompt_token_ids=prompt,
                output_token_ids=alone[: event.num_resumed],
                choice_index=choice_index,
                sampling=sampling,
                criticality=event.criticality,
                cache_salt=event.salt,
                prompt_logprobs=0 if event.is_scored else None,
            )
            self.engine.validate(request)
            self.requests[key], self.outputs[key] = request, []
            self.engine.add(request)

    def _prompt(self, event: Add) -> list[int]:
        num_tokens = 1 + int(event.prompt_share * (self.limits.context_length - 2))
        beginning = list(range(num_tokens))
        if event.earlier < len(self.requests):
            beginning = [*self.requests[event.earlier].prompt_token_ids, *self.produced(event.earlier), *beginning]
        num_common = int(event.common_share * num_tokens)
        own = [len(self.requests) * 5 + position for position in range(num_tokens - num_common)]
        return [token_id % VOCAB_SIZE for token_id in beginning[:num_common] + own]

    def _cancel(self, choice: int) -> None:
        if not self.requests:
            return
        key = choice % len(self.requests)
        is_here = key not in self.cancelled and not self.has_ended(key)
        assert self.engine.cancel(key) == is_here
        if is_here:
            self.cancelled.add(key)

    def _step(self) -> int:
        is_failing = self.runner.num_failures > 0
        result = self.engine.step()
        for output in result.outputs:
            is_error = output.end is not None and output.end.reason is FinishReason.ERROR
            assert is_failing or not is_error, "a step failed by itself"
            assert output.key not in self.cancelled, "output after a cancel"
            assert not self.has_ended(output.key), "output after the end"
            self.outputs[output.key].append(output)
        return result.num_sequences + len(result.outputs)

    def produced(self, key: int) -> list[int]:
        """The output of a sequence, what it was resumed with included."""
        made = [token_id for output in self.outputs[key] for token_id in output.token_ids]
        return [*self.requests[key].output_token_ids, *made]

    def has_ended(self, key: int) -> bool:
        """Whether the sequence had its terminal event."""
        return bool(self.outputs[key]) and self.outputs[key][-1].end is not None


def expected_output(request: SequenceRequest, limits: EngineLimits) -> tuple[list[int], FinishReason]:
    """What a sequence gives when nothing else runs: the definition of the product."""
    output: list[int] = []
    while True:
        room = limits.context_length - len(request.prompt_token_ids)
        if len(output) >= min(request.sampling.max_tokens, room):
            return output, FinishReason.LENGTH
        token_id = next_token_id([*request.prompt_token_ids, *output], VOCAB_SIZE)
        if token_id == EOS_TOKEN_ID and len(output) < request.sampling.min_tokens:
            token_id = 0  # masked; all others are equal, and the first of them is the greatest
        if token_id == EOS_TOKEN_ID:
            return output, FinishReason.STOP
        output.append(token_id)


@pytest.mark.parametrize("new_index", [PrefixIndex, CollidingIndex, lambda: None], ids=["cache", "collisions", "off"])
@settings(max_examples=120)
@given(limits=LIMITS, events=HISTORIES, one_wrong_in=st.sampled_from([None, 1, 2, 5, 1000]))
def test_random_histories_end_as_if_each_sequence_ran_alone(
    new_index: Callable[[], PrefixIndex | None], limits: EngineLimits, events: list[Event], one_wrong_in: int | None
) -> None:
    """Whatever is added, cancelled and preempted, nobody's output changes, everybody ends once, every block is free."""
    history = History(limits, new_index(), one_wrong_in)
    with capture_logs():  # writing out each failure's traceback would take most of the time
        for event in events:
            history.play(event)
        history.finish()
    stats = history.engine.stats()
    assert (stats.num_free_blocks, stats.num_running, stats.num_waiting) == (limits.num_blocks, 0, 0)
    for key, request in history.requests.items():
        if key not in history.cancelled:
            tokens, reason = expected_output(request, limits)
            end = history.outputs[key][-1].end
            assert end is not None
            if end.reason is FinishReason.ERROR:
                assert history.produced(key) == tokens[: len(history.produced(key))]
            else:
                assert (history.produced(key), end.reason) == (tokens, reason)
