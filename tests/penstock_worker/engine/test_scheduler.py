"""Who is computed in a step, and who gives way when there is not room for all."""

from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.plan import StepPlan
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import SamplingOptions, Sequence, SequenceRequest


def _scheduler(*, num_blocks: int = 100, max_running: int = 8, max_tokens: int = 16, block_size: int = 4) -> Scheduler:
    pool = BlockPool(num_blocks, block_size)
    return Scheduler(pool, max_running_sequences=max_running, max_step_tokens=max_tokens)


def _sequence(key: int, num_prompt_tokens: int, *, criticality: int = 2) -> Sequence:
    request = SequenceRequest(
        key=key,
        prompt_token_ids=range(num_prompt_tokens),
        sampling=SamplingOptions(max_tokens=1000),
        criticality=criticality,
    )
    return Sequence(
        request=request,
        arrival=key,
        ending_token_ids=frozenset(),
        max_total_tokens=1000 + num_prompt_tokens,
        queued_ns=0,
    )


def _add(scheduler: Scheduler, *sequences: Sequence) -> None:
    for sequence in sequences:
        scheduler.add(sequence)


def _step(scheduler: Scheduler, *sequences: Sequence) -> StepPlan:
    """One step, after which each sequence that was computed to its end has one token more."""
    plan = scheduler.schedule(now_ns=1)
    scheduler.check_invariants()
    finished = {chunk.key for chunk in plan.chunks if chunk.num_logits_rows}
    for sequence in sequences:
        if sequence.key in finished:
            sequence.token_ids.append(7)
    return plan


def _sizes(plan: StepPlan) -> dict[int, int]:
    return {chunk.key: len(chunk.token_ids) for chunk in plan.chunks}


def test_long_prompt_is_computed_in_chunks() -> None:
    """A prompt longer than the budget takes several steps, and only the last of them needs logits."""
    scheduler, sequence = _scheduler(max_tokens=16), _sequence(1, 40)
    _add(scheduler, sequence)
    chunks = [_step(scheduler, sequence).chunks[0] for _ in range(4)]
    assert [(chunk.start, len(chunk.token_ids)) for chunk in chunks] == [(0, 16), (16, 16), (32, 8), (40, 1)]
    assert [chunk.num_logits_rows for chunk in chunks] == [0, 0, 1, 1]
    assert list(chunks[1].token_ids) == list(range(16, 32))


def test_decoding_goes_on_beside_a_long_prefill() -> None:
    """A newcomer's long prompt must not hold up the streams that run."""
    scheduler, decoding, newcomer = _scheduler(max_tokens=16), _sequence(1, 3), _sequence(2, 40)
    _add(scheduler, decoding)
    _step(scheduler, decoding)
    _add(scheduler, newcomer)
    assert _sizes(_step(scheduler, decoding)) == {1: 1, 2: 15}
    assert _sizes(_step(scheduler, decoding)) == {1: 1, 2: 15}


def test_prefills_share_a_step() -> None:
    """Short prompts that wait together are computed together."""
    scheduler = _scheduler(max_tokens=16)
    _add(scheduler, _sequence(1, 5), _sequence(2, 6), _sequence(3, 7))
    assert _sizes(_step(scheduler)) == {1: 5, 2: 6, 3: 5}


def test_critical_goes_first_then_arrival() -> None:
    """Criticality is a promise; among equals it is first come, first served."""
    scheduler = _scheduler(max_running=2)
    _add(scheduler, _sequence(1, 3, criticality=1), _sequence(2, 3), _sequence(3, 3, criticality=3), _sequence(4, 3))
    assert _sizes(_step(scheduler)) == {3: 3, 2: 3}


def test_critical_newcomer_takes_the_place_of_a_less_critical_one() -> None:
    """With all places taken, the critical one starts at once and the last of the less critical waits."""
    scheduler = _scheduler(max_running=2)
    bulk, standard, critical = _sequence(1, 3, criticality=1), _sequence(2, 3), _sequence(3, 3, criticality=3)
    _add(scheduler, bulk, standard)
    _step(scheduler, bulk, standard)
    _add(scheduler, critical)
    assert _sizes(_step(scheduler, standard, critical)) == {2: 1, 3: 3}
    assert (scheduler.num_waiting, bulk.num_preemptions) == (1, 1)


def test_newcomer_of_equal_criticality_preempts_nobody() -> None:
    """Otherwise the two would take each other's place for ever."""
    scheduler = _scheduler(max_running=1)
    first, second = _sequence(1, 3), _sequence(2, 3)
    _add(scheduler, first, second)
    for _ in range(3):
        assert list(_sizes(_step(scheduler, first, second))) == [1]
    assert scheduler.num_preemptions == 0


def test_nobody_is_preempted_where_it_would_not_help() -> None:
    """Computed tokens are not thrown away for a newcomer that does not fit even then."""
    scheduler = _scheduler(num_blocks=10, max_tokens=64)
    critical, bulk = _sequence(1, 17, criticality=3), _sequence(2, 3, criticality=1)
    _add(scheduler, critical, bulk)
    _step(scheduler, critical, bulk)
    _add(scheduler, _sequence(3, 30, criticality=3))
    assert _sizes(_step(scheduler, critical, bulk)) == {1: 1, 2: 1}
    assert scheduler.num_preemptions == 0


def test_last_in_line_gives_up_its_blocks() -> None:
    """When blocks run out the latest of the least critical is preempted, and later computed again from its start."""
    scheduler = _scheduler(num_blocks=4, block_size=4)
    first, second = _sequence(1, 4), _sequence(2, 4)
    _add(scheduler, first, second)
    plans = [_step(scheduler, first, second) for _ in range(6)]
    assert _sizes(plans[4]) == {1: 1, 2: 1}
    assert _sizes(plans[5]) == {1: 1}
    assert (second.num_preemptions, len(second.block_ids), second.num_computed_tokens) == (1, 0, 0)
    scheduler.remove(first)
    assert _sizes(_step(scheduler, second)) == {2: 9}


def test_blocks_of_the_removed_are_free() -> None:
    """A sequence that ends, waiting or running, leaves nothing behind."""
    scheduler = _scheduler(num_blocks=4, max_running=1)
    running, waiting = _sequence(1, 9), _sequence(2, 3)
    _add(scheduler, running, waiting)
    _step(scheduler)
    assert scheduler.num_free_blocks == 1
    scheduler.remove(waiting)
    scheduler.remove(running)
    assert (scheduler.num_free_blocks, scheduler.num_running, scheduler.num_waiting) == (4, 0, 0)


def test_start_leaves_a_block_for_each_that_runs() -> None:
    """A start that took the last blocks would be undone by the next step's growth, and its work thrown away."""
    scheduler = _scheduler(num_blocks=4, block_size=4)
    first, second = _sequence(1, 4), _sequence(2, 8)
    _add(scheduler, first)
    _step(scheduler, first)
    _add(scheduler, second)
    assert list(_sizes(_step(scheduler, first))) == [1]


def test_first_in_line_advances_though_decoders_fill_the_budget() -> None:
    """A critical prompt gets its share even where more sequences decode than a step has tokens."""
    scheduler = _scheduler(max_tokens=2)
    decoding = [_sequence(key, 1) for key in (1, 2, 3)]
    _add(scheduler, *decoding)
    _step(scheduler, *decoding)
    _step(scheduler, *decoding)
    _add(scheduler, _sequence(4, 5, criticality=3))
    assert _sizes(_step(scheduler, *decoding)) == {1: 1, 4: 1}


def test_fresh_blocks_are_those_handed_out() -> None:
    """The runner zeroes them; a block that is missing here could carry another sequence's numbers."""
    scheduler, sequence = _scheduler(block_size=4), _sequence(1, 5)
    _add(scheduler, sequence)
    plans = [_step(scheduler, sequence) for _ in range(5)]
    assert [plan.fresh_block_ids for plan in plans] == [[0, 1], [], [], [], [2]]


def _caching_scheduler(**options: int) -> Scheduler:
    pool = BlockPool(num_blocks=100, block_size=4, index=PrefixIndex())
    return Scheduler(pool, **{"max_running_sequences": 8, "max_step_tokens": 64} | options)


def test_those_behind_one_that_waits_for_a_prefix_start_meanwhile() -> None:
    """Its wait is its own: the step has tokens left for others."""
    scheduler = _caching_scheduler()
    first, equal, other = _sequence(1, 20), _sequence(2, 20), _sequence(3, 3)
    _add(scheduler, first, equal, other)
    plan = _step(scheduler, first, equal, other)
    assert _sizes(plan) == {1: 20, 3: 3}
    for sequence in (first, other):
        scheduler.keep_computed(sequence)
    assert _sizes(_step(scheduler, first, equal, other)) == {1: 1, 2: 4, 3: 1}


def test_critical_one_does_not_wait_for_a_prefix_of_a_less_critical_one() -> None:
    """The other may not have its turn for long; it is computed twice instead."""
    scheduler = _caching_scheduler(max_step_tokens=8)
    bulk, critical = _sequence(1, 20, criticality=1), _sequence(2, 20, criticality=3)
    _add(scheduler, bulk)
    _step(scheduler, bulk)
    scheduler.keep_computed(bulk)
    _add(scheduler, critical)
    [chunk] = _step(scheduler, bulk, critical).chunks
    assert (chunk.key, chunk.start, len(chunk.token_ids)) == (2, 8, 8)


def test_equal_blocks_computed_at_one_time_become_one() -> None:
    """Two that could not wait for each other hold one copy from then on."""
    scheduler = _caching_scheduler(max_step_tokens=8)
    bulk, critical = _sequence(1, 20, criticality=1), _sequence(2, 20, criticality=3)
    _add(scheduler, bulk)
    _step(scheduler, bulk)
    _add(scheduler, critical)
    _step(scheduler, bulk, critical)
    assert scheduler.num_free_blocks == 100 - 10
    scheduler.keep_computed(critical)
    scheduler.keep_computed(bulk)
    scheduler.check_invariants()
    assert scheduler.num_free_blocks == 100 - 8
    assert bulk.block_ids[:2] == critical.block_ids[:2]


def test_blocks_that_are_found_are_not_counted_as_room_too() -> None:
    """A newcomer that takes idle blocks over cannot have the same blocks to write the rest of its prompt."""
    pool = BlockPool(num_blocks=8, block_size=4, index=PrefixIndex())
    scheduler = Scheduler(pool, max_running_sequences=8, max_step_tokens=64)
    earlier = _sequence(1, 13)
    _add(scheduler, earlier)
    _step(scheduler)
    scheduler.keep_computed(earlier)
    scheduler.remove(earlier)
    running, newcomer = _sequence(2, 16), _sequence(3, 22)
    running.token_ids[0] = 99
    _add(scheduler, running, newcomer)
    assert _sizes(_step(scheduler)) == {2: 16}
    scheduler.remove(running)
    assert _sizes(_step(scheduler)) == {3: 10}
