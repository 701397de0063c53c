"""What the engine makes of masks: late ones hold up nobody else, and ends are exactly one each."""

import itertools

import pytest
from fakes.paged_runner import PagedRunner
from fakes.scripted_masks import ScriptedMasks

from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.errors import InternalError, InvalidArgumentError
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.constraint import ConstraintGate
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.engine.validation import EngineLimits

VOCAB_SIZE = 29
EOS = 28
ANY = Constraint(ConstraintKind.REGEX, ("a+",))


def make_engine(masks: ScriptedMasks | None, *, num_blocks: int = 32, index: PrefixIndex | None = None) -> Engine:
    """An engine without a model; its clocks count their readings."""
    limits = EngineLimits(
        max_running_sequences=4, max_step_tokens=32, context_length=64, block_size=4, num_blocks=num_blocks
    )
    gate = None
    if masks is not None:
        gate = ConstraintGate(
            masks, vocab_size=VOCAB_SIZE, eos_token_ids=frozenset({EOS}), clock=itertools.count(1).__next__
        )
    return Engine(
        scheduler=Scheduler(BlockPool(num_blocks, 4, index), max_running_sequences=4, max_step_tokens=32),
        runner=PagedRunner(vocab_size=VOCAB_SIZE, block_size=4),
        sampler=Sampler(),
        limits=limits,
        vocab_size=VOCAB_SIZE,
        eos_token_ids=frozenset({EOS}),
        constraints=gate,
        clock_ns=itertools.count(1).__next__,
    )


def request(
    key: int, *, constraint: Constraint | None = ANY, output: list[int] | None = None, **sampling: object
) -> SequenceRequest:
    """A sequence of its own prompt; of up to 5 tokens unless told otherwise."""
    options = SamplingOptions(**({"max_tokens": 5} | sampling))  # type: ignore[arg-type]
    return SequenceRequest(
        key=key, prompt_token_ids=[1, key], output_token_ids=output or [], sampling=options, constraint=constraint
    )


def run(engine: Engine, *, max_steps: int = 100) -> list[SequenceOutput]:
    """Steps until nothing is left to do, or so many."""
    outputs: list[SequenceOutput] = []
    for _ in range(max_steps):
        if not engine.has_work:
            break
        outputs += engine.step().outputs
        engine.check_invariants()
    return outputs


def token_ids(outputs: list[SequenceOutput], key: int) -> list[int]:
    """What a sequence got."""
    return [token_id for output in outputs if output.key == key for token_id in output.token_ids]


def ends(outputs: list[SequenceOutput]) -> dict[int, FinishReason]:
    """How each ended, which it does once."""
    found = [(output.key, output.end.reason) for output in outputs if output.end is not None]
    assert len({key for key, _ in found}) == len(found)
    return dict(found)


def test_only_allowed_tokens_are_chosen() -> None:
    """The likeliest of those that the mask leaves; a neighbour without a constraint is not touched."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7}
    engine, free = make_engine(masks), make_engine(None)
    for each in (engine, free):
        each.add(request(2, constraint=None))
    engine.add(request(1))
    outputs = run(engine)
    assert token_ids(outputs, 1) == [7, 7, 7, 7, 7]
    assert token_ids(outputs, 2) == token_ids(run(free), 2)


@pytest.mark.parametrize("sampling", [{"logit_bias": {3: 100.0}}, {"repetition_penalty": 0.1}, {"temperature": 1.0}])
def test_bias_penalties_and_chance_bring_nothing_back(sampling: dict[str, object]) -> None:
    """What is forbidden stays so, however likely it is made."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7, 9}
    engine = make_engine(masks)
    engine.add(request(1, **sampling))
    assert set(token_ids(run(engine), 1)) <= {7, 9}


def test_late_mask_delays_nobody_else_by_a_step() -> None:
    """A neighbour gets a token in every step, while the sequence whose mask does not come gets none."""
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks)
    engine.add(request(1))
    engine.add(request(2, constraint=None, max_tokens=50))
    engine.add(request(3, max_tokens=50))
    steps = [{output.key for output in engine.step().outputs if output.token_ids} for _ in range(20)]
    assert steps == [{2, 3}] * 20
    engine.check_invariants()


def test_held_back_sequence_goes_on_as_if_nothing_had_been() -> None:
    """Its logits were kept: the same tokens, none computed twice."""
    prompt_masks = ScriptedMasks()
    undisturbed = make_engine(prompt_masks)
    undisturbed.add(request(1))
    expected = token_ids(run(undisturbed), 1)
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks)
    engine.add(request(1))
    assert token_ids(run(engine, max_steps=5), 1) == []
    masks.late = set()
    outputs = run(engine)
    assert token_ids(outputs, 1) == expected
    assert ends(outputs) == {1: FinishReason.LENGTH}


def test_sequence_preempted_while_it_waits_for_its_mask_is_computed_again() -> None:
    """Its blocks go to a more critical one; the logits that were kept would otherwise be sampled beside new ones."""
    masks = ScriptedMasks()
    undisturbed = make_engine(masks)
    undisturbed.add(request(1))
    expected = token_ids(run(undisturbed), 1)
    masks.late = {1}
    engine = make_engine(masks, num_blocks=4)
    engine.add(request(1))
    engine.step()
    critical = SequenceRequest(
        key=2, prompt_token_ids=list(range(1, 14)), sampling=SamplingOptions(max_tokens=2), criticality=3
    )
    engine.add(critical)
    outputs: list[SequenceOutput] = []
    while 2 not in ends(outputs) and engine.stats().step < 20:
        outputs += engine.step().outputs
    assert engine.stats().num_preemptions == 1
    masks.late = set()  # with the step that computes it again, in which its old logits must not count
    outputs += run(engine)
    assert token_ids(outputs, 1) == expected
    assert ends(outputs) == {1: FinishReason.LENGTH, 2: FinishReason.LENGTH}


def test_prefill_does_not_wait_for_anybodys_mask() -> None:
    """A step that has nothing to sample goes on with its work, whoever lacks a mask elsewhere."""
    masks = ScriptedMasks()
    engine = make_engine(masks)
    long = SequenceRequest(key=1, prompt_token_ids=[1] * 50, sampling=SamplingOptions(max_tokens=2), constraint=ANY)
    engine.add(long)
    assert engine.step().outputs == []
    assert masks.num_waits == 0


def test_with_nothing_else_to_do_the_engine_waits_for_masks() -> None:
    """A step that does nothing must not spin."""
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks)
    engine.add(request(1))
    engine.step()
    before = masks.num_waits
    assert engine.step().num_sequences == 0
    assert masks.num_waits > before


def test_complete_grammar_ends_with_stop() -> None:
    """There is nothing to sample any more: no further token, no stop token either."""
    masks = ScriptedMasks()
    engine = make_engine(masks)
    engine.add(request(1))
    outputs = engine.step().outputs
    masks.complete = {1}
    outputs += run(engine)
    assert len(token_ids(outputs, 1)) == 1
    [end] = [output.end for output in outputs if output.end is not None]
    assert (end.reason, end.stop_token_id) == (FinishReason.STOP, None)
    assert masks.told[-1] == ("close", 1, [])


def test_grammar_that_fails_leaves_what_was_computed_to_be_found() -> None:
    """Keys and values are sound; only those of a model's failure are forgotten."""
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks, index=PrefixIndex())
    engine.add(request(1, output=[3, 4, 5]))
    engine.step()
    masks.failed[1] = InvalidArgumentError("constraint", "it", "another")
    assert ends(run(engine)) == {1: FinishReason.ERROR}
    assert engine.stats().num_cached_blocks == 1


def test_grammar_that_fails_ends_its_sequence_alone() -> None:
    """With the error that says why."""
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks)
    engine.add(request(1))
    engine.add(request(2))
    outputs = engine.step().outputs
    masks.failed[1] = InternalError("the grammar is on fire")
    outputs += run(engine)
    assert ends(outputs) == {1: FinishReason.ERROR, 2: FinishReason.LENGTH}
    [error] = [output.end.error for output in outputs if output.end is not None and output.key == 1]
    assert error is masks.failed[1]
    assert engine.stats().num_free_blocks == 32


def test_cancelled_while_its_mask_is_awaited_leaves_nothing() -> None:
    """Neither blocks nor logits nor a place in its grammar."""
    masks = ScriptedMasks()
    masks.late = {1}
    engine = make_engine(masks)
    engine.add(request(1))
    engine.step()
    assert engine.cancel(1)
    assert not engine.has_work
    assert engine.stats().num_free_blocks == 32
    assert masks.told == [("open", 1, []), ("close", 1, [])]


def test_resumed_sequence_brings_its_output_to_the_grammar() -> None:
    """Its masks must continue where the first replica's ended."""
    masks = ScriptedMasks()
    engine = make_engine(masks)
    engine.add(request(1, output=[4, 5], max_tokens=4))
    outputs = run(engine)
    first, second = token_ids(outputs, 1)
    assert masks.told == [("open", 1, [4, 5]), ("advance", 1, [first]), ("close", 1, [])]
    assert second == token_ids(outputs, 1)[1]


def test_end_before_min_tokens_is_chosen_only_where_the_grammar_leaves_nothing_else() -> None:
    """The length was asked for, but an output that breaks its grammar is of no use."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7, EOS}
    masks.allowed[2] = {EOS}
    engine = make_engine(masks)
    engine.add(request(1, min_tokens=5, logit_bias={EOS: 100.0}))
    engine.add(request(2, min_tokens=5))
    outputs = run(engine)
    assert token_ids(outputs, 1) == [7, 7, 7, 7, 7]
    assert ends(outputs) == {1: FinishReason.LENGTH, 2: FinishReason.STOP}


def test_ignored_eos_is_not_chosen_while_the_grammar_can_go_on() -> None:
    """As an ordinary token it would be one that the grammar does not have."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7, EOS}
    engine = make_engine(masks)
    engine.add(request(1, ignore_eos=True, logit_bias={EOS: 100.0}))
    assert token_ids(run(engine), 1) == [7, 7, 7, 7, 7]


def test_stop_token_that_the_grammar_allows_ends_the_sequence() -> None:
    """What was asked for holds: the output is then a beginning of a text of the grammar."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7}
    engine = make_engine(masks)
    engine.add(request(1, stop_token_ids=frozenset({7})))
    outputs = run(engine)
    assert (token_ids(outputs, 1), ends(outputs)) == ([], {1: FinishReason.STOP})


def test_log_probabilities_are_of_the_allowed_tokens() -> None:
    """Of one allowed token the probability is 1, and there is no alternative."""
    masks = ScriptedMasks()
    masks.allowed[1] = {7}
    engine = make_engine(masks)
    engine.add(request(1, max_tokens=1, logprobs=3))
    [output] = run(engine)
    [logprobs] = output.logprobs
    assert logprobs.logprob == pytest.approx(0.0)
    assert [top.token_id for top in logprobs.top] == [7]


def test_engine_without_masks_refuses_constraints() -> None:
    """Silence would look like an answer that conforms."""
    with pytest.raises(InvalidArgumentError, match="constraint: got 'regex'; allowed: none: they need a tokenizer"):
        make_engine(None).validate(request(1))
