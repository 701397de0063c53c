"""What was computed once is found again, and nothing else is: counters of an engine with a fake model."""

import math

import torch
from fakes.paged_runner import PagedRunner, next_token_id

from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.engine import Engine, StepRunner
from penstock_worker.engine.model_runner import StepLogits
from penstock_worker.engine.plan import StepPlan
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.engine.validation import EngineLimits

VOCAB_SIZE = 29
BLOCK_SIZE = 16
SHARED = [position % VOCAB_SIZE for position in range(512)]


def _engine(runner: StepRunner | None = None, *, num_blocks: int = 400, max_step_tokens: int = 2048) -> Engine:
    limits = EngineLimits(
        max_running_sequences=16,
        max_step_tokens=max_step_tokens,
        context_length=min(1024, num_blocks * BLOCK_SIZE),
        block_size=BLOCK_SIZE,
        num_blocks=num_blocks,
    )
    return Engine(
        scheduler=Scheduler(
            BlockPool(num_blocks, BLOCK_SIZE, PrefixIndex()),
            max_running_sequences=limits.max_running_sequences,
            max_step_tokens=max_step_tokens,
        ),
        runner=runner or _runner(),
        sampler=Sampler(),
        limits=limits,
        vocab_size=VOCAB_SIZE,
        eos_token_ids=frozenset(),
    )


def _runner() -> PagedRunner:
    return PagedRunner(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE)


def _request(key: int, prompt: list[int], *, max_tokens: int = 4, **fields: object) -> SequenceRequest:
    sampling = SamplingOptions(max_tokens=max_tokens)
    return SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling, **fields)  # type: ignore[arg-type]


def _run(engine: Engine, *requests: SequenceRequest) -> dict[int, SequenceOutput]:
    """Runs requests that arrive together to their ends; their last outputs, with all tokens."""
    token_ids: dict[int, list[int]] = {}
    last: dict[int, SequenceOutput] = {}
    for request in requests:
        engine.add(request)
    while engine.has_work:
        for output in engine.step().outputs:
            token_ids.setdefault(output.key, []).extend(output.token_ids)
            last[output.key] = output
        engine.check_invariants()
    return {key: SequenceOutput(key, token_ids[key], [], output.end) for key, output in last.items()}


def _cached(output: SequenceOutput) -> int:
    assert output.end is not None
    return output.end.cached_prompt_tokens


def _continuation(prompt: list[int], num_tokens: int = 4) -> list[int]:
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(next_token_id(tokens, VOCAB_SIZE))
    return tokens[len(prompt) :]


def test_requests_that_arrive_together_compute_a_shared_prefix_once() -> None:
    """All in one step: one computes the 512 tokens, fifteen wait for them, and each its own 18 more."""
    engine = _engine()
    prompts = [[*SHARED, *[key] * 18] for key in range(16)]
    outputs = _run(engine, *(_request(key, prompt) for key, prompt in enumerate(prompts)))
    stats = engine.stats()
    assert (stats.num_prefix_query_tokens, stats.num_prefix_hit_tokens) == (16 * 529, 15 * 512)
    assert stats.num_computed_tokens == 512 + 16 * 18 + 16 * 3
    assert sorted(_cached(output) for output in outputs.values()) == [0] + [512] * 15
    assert [outputs[key].token_ids for key in range(16)] == [_continuation(prompt) for prompt in prompts]


def test_prefix_that_takes_several_steps_is_computed_once() -> None:
    """Those that wait go on waiting while the next of their blocks is about to be computed."""
    engine = _engine(max_step_tokens=100)
    _run(engine, *(_request(key, [*SHARED, key]) for key in range(4)))
    assert engine.stats().num_computed_tokens == 512 + 4 + 4 * 3


def test_choices_of_one_request_compute_its_prompt_once() -> None:
    """All but the rest that fills no block, which each choice computes for itself."""
    engine = _engine()
    prompt = [*SHARED, 1, 2, 3]
    outputs = _run(engine, *(_request(key, prompt, choice_index=key) for key in range(4)))
    assert engine.stats().num_computed_tokens == 512 + 4 * 3 + 4 * 3
    assert [outputs[key].token_ids for key in range(4)] == [_continuation(prompt)] * 4


def test_next_turn_of_a_conversation_finds_prompt_and_output() -> None:
    """Full blocks of the output are worth as much as those of the prompt."""
    engine = _engine()
    first = SHARED[:20]
    answer = _run(engine, _request(1, first, max_tokens=60))[1].token_ids
    second = [*first, *answer, 5, 6]
    assert _cached(_run(engine, _request(2, second))[2]) == 64  # of 79 computed tokens, 4 blocks


def test_last_token_is_computed_though_all_its_prompt_is_cached() -> None:
    """Its logits are needed: the block that holds it is computed again."""
    engine = _engine()
    _run(engine, _request(1, SHARED))
    output = _run(engine, _request(2, SHARED))[2]
    assert (_cached(output), output.token_ids) == (496, _continuation(SHARED))


def test_prompt_that_is_scored_is_computed_from_there_on() -> None:
    """The logits before every scored token are needed; what it computes others find all the same."""
    engine = _engine()
    offsets = {1: 1, 2: 1, 3: 101}
    requests = [
        _request(key, SHARED, prompt_logprobs=0, prompt_logprob_offset=offset) for key, offset in offsets.items()
    ]
    outputs = _run(engine, *requests)
    assert [_cached(outputs[key]) for key in offsets] == [0, 0, 96]
    assert _cached(_run(engine, _request(4, SHARED))[4]) == 496


def test_other_salts_share_nothing() -> None:
    """A tenant must not learn from its waiting time what another has asked."""
    engine = _engine()
    _run(engine, _request(1, SHARED, cache_salt=b"one"))
    assert _cached(_run(engine, _request(2, SHARED, cache_salt=b"two"))[2]) == 0
    assert _cached(_run(engine, _request(3, SHARED, cache_salt=b"one"))[3]) == 496


def test_preempted_sequence_finds_its_own_blocks() -> None:
    """Preemption costs next to nothing where its blocks are not needed at once."""
    engine = _engine(num_blocks=10)
    engine.add(_request(1, SHARED[:100], max_tokens=8, criticality=1))
    engine.step()
    _run(engine, _request(2, [7] * 40, max_tokens=2, criticality=3))
    stats = engine.stats()
    assert stats.num_preemptions == 1
    assert (stats.num_evicted_blocks, stats.num_prefix_hit_tokens) == (0, 96)


def test_block_idle_for_longest_goes_first_and_of_a_chain_its_end() -> None:
    """What is left of a chain must be its beginning: without it the rest could not be found."""
    engine = _engine(num_blocks=8)
    old, young = [1] * 64, [2] * 64
    _run(engine, _request(1, old, max_tokens=1))
    _run(engine, _request(2, young, max_tokens=1))
    _run(engine, _request(3, [3] * 40, max_tokens=1))
    assert engine.stats().num_evicted_blocks == 3
    assert _cached(_run(engine, _request(4, young, max_tokens=1))[4]) == 48
    assert _cached(_run(engine, _request(5, old, max_tokens=1))[5]) == 16


def test_found_blocks_are_not_cleared() -> None:
    """The runner zeroes fresh blocks; a found one holds what is wanted."""
    runner = _runner()
    engine = _engine(runner)
    _run(engine, _request(1, [*SHARED, 1]))
    runner.plans.clear()
    _run(engine, _request(2, [*SHARED, 2]))
    assert [len(plan.fresh_block_ids) for plan in runner.plans] == [1, 0, 0, 0]
    assert runner.plans[0].chunks[0].start == 512


def test_cancel_of_the_one_that_computes_costs_the_others_nothing() -> None:
    """Those that wait for it compute for themselves, at the next step."""
    engine = _engine(max_step_tokens=100)
    for key in (1, 2, 3):
        engine.add(_request(key, [*SHARED, key]))
    engine.step()
    engine.cancel(1)
    outputs = _run(engine)
    assert [outputs[key].token_ids for key in (2, 3)] == [_continuation([*SHARED, key]) for key in (2, 3)]
    assert engine.stats().num_prefix_hit_tokens == 96 + 512


def test_failed_step_leaves_nothing_to_be_found() -> None:
    """Nobody knows what a failing device has written, or whether what it wrote before is sound."""
    runner = _runner()
    engine = _engine(runner, max_step_tokens=100)
    engine.add(_request(1, SHARED))
    engine.step()
    assert engine.stats().num_cached_blocks == 6
    runner.num_failures = 1
    engine.step()
    engine.check_invariants()
    assert engine.stats().num_cached_blocks == 0
    assert _cached(_run(engine, _request(2, SHARED))[2]) == 0


class OverflowingRunner(PagedRunner):
    """A model whose logits overflow after token 9."""

    def run(self, plan: StepPlan) -> StepLogits:
        """Computes the plan's chunks."""
        values = super().run(plan).values
        is_bad = torch.tensor([chunk.token_ids[-1] == 9 for chunk in plan.chunks if chunk.num_logits_rows])
        if len(is_bad):
            values[is_bad] = math.nan
        return StepLogits(values)


def test_step_in_which_a_sequence_fails_makes_nothing_of_it_findable() -> None:
    """Not even for a moment: an equal sequence beside it would take its blocks over."""
    engine = _engine(OverflowingRunner(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE))
    engine.add(_request(1, [*SHARED[:111], 9], max_tokens=1))
    assert engine.step().prefix_changes == []


def test_sequence_that_overflows_leaves_nothing_to_be_found() -> None:
    """Whoever found keys and values that are no numbers would fail too. Its neighbours' blocks stay."""
    engine = _engine(OverflowingRunner(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE), max_step_tokens=100)
    outputs = _run(engine, _request(1, [*SHARED[:100], 9], max_tokens=1), _request(2, [5] * 40, max_tokens=1))
    end = outputs[1].end
    assert end is not None
    assert end.reason is FinishReason.ERROR
    assert engine.stats().num_cached_blocks == 2
    assert _cached(_run(engine, _request(3, SHARED))[3]) == 0


def test_changes_add_up_to_what_can_be_found() -> None:
    """Gateways know the cache by them alone: stored and removed, each once, in order."""
    engine = _engine(num_blocks=20)
    known: set[bytes] = set()
    for key in range(30):
        engine.add(_request(key, [*SHARED[: 16 * (key % 5)], *[key] * 30], max_tokens=20))
    while engine.has_work:
        for change in engine.step().prefix_changes:
            assert (change.block_hash in known) is not change.is_stored
            known ^= {change.block_hash}
        assert len(known) == engine.stats().num_cached_blocks
    assert engine.stats().num_evicted_blocks > 0
