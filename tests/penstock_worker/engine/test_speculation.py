"""What drafts may take of a step, and what becomes of it."""

from array import array
from collections.abc import Sequence as ReadOnlyList
from dataclasses import replace

from fakes.drafters import OracleDrafter
from fakes.paged_runner import PagedRunner

from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS
from penstock_worker.engine.drafter import Drafter, DraftRequest
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.fixed_pace import FixedPace
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import SamplingOptions, Sequence, SequenceRequest
from penstock_worker.engine.speculation import Speculation
from penstock_worker.engine.validation import EngineLimits

VOCAB_SIZE = 29
LIMITS = EngineLimits(max_running_sequences=4, max_step_tokens=16, context_length=64, block_size=4, num_blocks=32)
WRONG = OracleDrafter(vocab_size=VOCAB_SIZE, one_wrong_in=1)
RIGHT = OracleDrafter(vocab_size=VOCAB_SIZE, one_wrong_in=1000)


def _engine(drafter: Drafter | None, limits: EngineLimits = LIMITS) -> tuple[Engine, PagedRunner]:
    runner = PagedRunner(vocab_size=VOCAB_SIZE, block_size=limits.block_size)
    scheduler = Scheduler(
        BlockPool(limits.num_blocks, limits.block_size),
        max_running_sequences=limits.max_running_sequences,
        max_step_tokens=limits.max_step_tokens,
    )
    engine = Engine(
        scheduler=scheduler,
        runner=runner,
        sampler=Sampler(),
        limits=limits,
        vocab_size=VOCAB_SIZE,
        eos_token_ids=frozenset(),
        speculation=None
        if drafter is None
        else Speculation(drafter, scheduler, FixedPace(MAX_DRAFT_TOKENS), max_step_tokens=limits.max_step_tokens),
    )
    return engine, runner


def _add(engine: Engine, key: int, prompt: list[int], *, max_tokens: int = 12) -> None:
    engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=SamplingOptions(max_tokens=max_tokens)))


def test_wrong_drafts_leave_no_blocks_behind() -> None:
    """After each step the free blocks are those that there would be without any draft."""
    free: list[list[int]] = []
    for drafter in (None, WRONG):
        engine, _ = _engine(drafter)
        _add(engine, 1, [1, 2, 3])
        free.append([])
        while engine.has_work:
            engine.step()
            free[-1].append(engine.stats().num_free_blocks)
    assert free[0] == free[1]


def test_drafts_take_what_others_leave_of_the_budget() -> None:
    """A prefill is never shortened for a draft, and a step never exceeds its budget."""
    engine, runner = _engine(RIGHT)
    _add(engine, 1, [1, 2, 3], max_tokens=40)
    engine.step()
    _add(engine, 2, list(range(24)))
    engine.step()
    engine.step()
    lengths = [{chunk.key: len(chunk.token_ids) for chunk in plan.chunks} for plan in runner.plans[1:3]]
    assert lengths == [{1: 1, 2: 15}, {1: 1 + 6, 2: 9}]


def test_drafts_take_no_block_that_is_not_free() -> None:
    """With one block for each of two sequences, drafts fill these and nobody is preempted."""
    limits = replace(LIMITS, num_blocks=4, context_length=16)
    engine, runner = _engine(RIGHT, limits)
    _add(engine, 1, [1, 2], max_tokens=6)
    _add(engine, 2, [3, 4], max_tokens=6)
    while engine.has_work:
        engine.step()
        engine.check_invariants()
    assert engine.stats().num_preemptions == 0
    assert max(len(chunk.token_ids) for plan in runner.plans for chunk in plan.chunks) > 2


def test_last_token_is_not_drafted_past_the_most_tokens() -> None:
    """What max_tokens cuts off would be computed in vain."""
    engine, runner = _engine(RIGHT)
    _add(engine, 1, [1, 2, 3], max_tokens=5)
    while engine.has_work:
        engine.step()
    assert [[len(chunk.token_ids) for chunk in plan.chunks] for plan in runner.plans] == [[3], [1 + 3]]


class FailingDrafter:
    """A drafter with a defect."""

    def draft(self, requests: ReadOnlyList[DraftRequest]) -> "list[array[int]]":
        """Raises."""
        raise RuntimeError(f"{len(requests)} are too many")


def test_a_drafter_that_fails_harms_nobody() -> None:
    """Its sequences go on token by token."""
    engine, _ = _engine(FailingDrafter())
    _add(engine, 1, [1, 2, 3])
    outputs = []
    while engine.has_work:
        outputs += engine.step().outputs
    assert [len(output.token_ids) for output in outputs] == [1] * 12
    assert engine.stats().num_drafted_tokens == 0


def test_constrained_output_is_not_drafted() -> None:
    """Its masks are known for the next token only."""
    drafter = OracleDrafter(vocab_size=VOCAB_SIZE, one_wrong_in=1000)
    pool = BlockPool(LIMITS.num_blocks, LIMITS.block_size)
    scheduler = Scheduler(pool, max_running_sequences=4, max_step_tokens=16)
    speculation = Speculation(drafter, scheduler, FixedPace(MAX_DRAFT_TOKENS), max_step_tokens=16)
    sequences = {}
    for key, constraint in ((1, None), (2, Constraint(ConstraintKind.REGEX, ("a+",)))):
        request = SequenceRequest(
            key=key, prompt_token_ids=[key], sampling=SamplingOptions(max_tokens=9), constraint=constraint
        )
        sequences[key] = Sequence(request, key, frozenset(), 10, 0)
        scheduler.add(sequences[key])
    plan = speculation.extend(scheduler.schedule(0), sequences)
    assert {chunk.key: len(chunk.drafts) for chunk in plan.chunks} == {1: 8, 2: 0}
