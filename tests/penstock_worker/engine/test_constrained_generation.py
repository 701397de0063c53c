"""Constrained generation with a real model of random weights: whatever it would like to say, what it says conforms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.hostile_constraints import slow_grammar
from fakes.word_checkpoints import EOS_TOKEN_ID, TOKENIZER_FILE, save_word_checkpoint
from tokenizers import Tokenizer

from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceEnd, SequenceRequest, TokenLogprobs

SCHEMAS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "constraints" / "schemas.json").read_text())
NUM_EACH = 4
PHONE = Constraint(ConstraintKind.REGEX, (r"\+[0-9]{2} [0-9]{3,9}( ext [0-9]+)?",))


class Outcome:
    """What became of one sequence."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprobs] = []
        self.end: SequenceEnd | None = None

    @property
    def reason(self) -> FinishReason:
        """Why it ended."""
        assert self.end is not None
        return self.end.reason


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, the pocket model's tokenizer."""
    return save_word_checkpoint(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Engine:
    """With room for all."""
    return make_engine(model_dir, kv_memory_bytes=64 << 20)


@pytest.fixture(scope="module")
def text_of() -> Callable[[list[int]], str]:
    """Token ids as text."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FILE))
    return lambda token_ids: str(tokenizer.decode(token_ids, skip_special_tokens=False))


def make_engine(model_dir: Path, **config: Any) -> Engine:
    """An engine on one thread."""
    return build_engine(model_dir, EngineConfig(num_threads=1, dtype="float32", **config))[0]


def request(
    key: int, constraint: Constraint | None, *, output: list[int] | None = None, **options: Any
) -> SequenceRequest:
    """At temperature 1, which is the hardest: every token that is allowed comes up."""
    sampling = SamplingOptions(**({"max_tokens": 2000, "temperature": 1.0, "seed": key} | options))
    return SequenceRequest(
        key=key, prompt_token_ids=[10, 11], output_token_ids=output or [], sampling=sampling, constraint=constraint
    )


def run(engine: Engine, *requests: SequenceRequest) -> dict[int, Outcome]:
    """What becomes of them."""
    found = {each.key: Outcome() for each in requests}
    for each in requests:
        engine.validate(each)
        engine.add(each)
    while engine.has_work:
        for output in engine.step().outputs:
            found[output.key].token_ids += output.token_ids
            found[output.key].logprobs += output.logprobs
            found[output.key].end = output.end or found[output.key].end
        engine.check_invariants()
    return found


def schema_constraint(name: str) -> Constraint:
    """A schema of the collection."""
    return Constraint(ConstraintKind.JSON_SCHEMA, (json.dumps(SCHEMAS[name]),))


def test_every_object_of_25_schemas_validates(engine: Engine, text_of: Callable[[list[int]], str]) -> None:
    """By another implementation of JSON schema. None is cut off: they are bounded. `bench/structured.py` makes 500."""
    assert len(SCHEMAS) == 25
    names = [name for name in SCHEMAS for _ in range(NUM_EACH)]
    outcomes = run(engine, *(request(key, schema_constraint(name)) for key, name in enumerate(names)))
    for key, name in enumerate(names):
        assert outcomes[key].reason is FinishReason.STOP
        text = text_of(outcomes[key].token_ids)
        jsonschema.validate(json.loads(text), SCHEMAS[name], cls=jsonschema.Draft202012Validator)


def test_sequence_resumed_anywhere_continues_exactly(engine: Engine) -> None:
    """A failover replays what there is; masks and random numbers go on where they were."""
    constraint = schema_constraint("function call")
    whole = run(engine, request(1, constraint))[1].token_ids
    assert len(whole) > 10
    cuts = range(0, len(whole), 7)
    resumed = {100 + cut: request(100 + cut, constraint, output=whole[:cut], seed=1) for cut in cuts}
    outcomes = run(engine, *resumed.values())
    assert [whole[:cut] + outcomes[100 + cut].token_ids for cut in cuts] == [whole] * len(cuts)


def test_output_that_was_complete_when_its_replica_died_only_stops(engine: Engine) -> None:
    """Its end is still owed, and no token more."""
    choice = Constraint(ConstraintKind.CHOICE, ("yes", "no"))
    whole = run(engine, request(1, choice))[1].token_ids
    outcome = run(engine, request(2, choice, output=whole))[2]
    assert (outcome.token_ids, outcome.reason) == ([], FinishReason.STOP)


def test_preemption_changes_no_output(engine: Engine, model_dir: Path) -> None:
    """A small cache makes sequences lose their blocks again and again, also while they wait for a mask."""
    requests = [request(key, schema_constraint("nested objects")) for key in range(8)]
    expected = {key: outcome.token_ids for key, outcome in run(engine, *requests).items()}
    small = make_engine(model_dir, kv_memory_bytes=100 << 10, max_running_sequences=8)
    outcomes = run(small, *requests)
    assert small.stats().num_preemptions > 0
    assert {key: outcome.token_ids for key, outcome in outcomes.items()} == expected


def test_neighbours_of_constrained_sequences_are_not_touched(engine: Engine) -> None:
    """A batch of both: what is free comes out as it does alone."""
    free = request(1, None, max_tokens=30)
    alone = run(engine, free)[1].token_ids
    beside = run(engine, free, *(request(key, PHONE) for key in range(2, 6)))[1].token_ids
    assert beside == alone


def test_choices_of_one_request_differ_and_all_conform(engine: Engine, text_of: Callable[[list[int]], str]) -> None:
    """N > 1: one grammar, several places in it."""
    requests = [
        SequenceRequest(
            key=index,
            prompt_token_ids=[10],
            choice_index=index,
            sampling=SamplingOptions(max_tokens=200, temperature=1.0, seed=3),
            constraint=PHONE,
        )
        for index in range(4)
    ]
    texts = [text_of(outcome.token_ids) for outcome in run(engine, *requests).values()]
    assert len(set(texts)) == 4
    assert all(text.startswith("+") for text in texts)


def test_max_tokens_cuts_a_constrained_output(engine: Engine, text_of: Callable[[list[int]], str]) -> None:
    """The end says LENGTH: what came is the beginning of a conforming text."""
    outcome = run(engine, request(1, PHONE, max_tokens=3))[1]
    assert outcome.reason is FinishReason.LENGTH
    assert text_of(outcome.token_ids)[0] == "+"
    assert len(outcome.token_ids) == 3


def test_min_tokens_makes_an_output_longer_where_the_grammar_can(engine: Engine) -> None:
    """It may end after a few digits, and must not before 40 tokens; one that cannot go on ends all the same."""
    digits = Constraint(ConstraintKind.REGEX, ("[0-9]+",))
    word = Constraint(ConstraintKind.CHOICE, ("yes",))
    outcomes = run(
        engine,
        request(1, digits, min_tokens=40, logit_bias={EOS_TOKEN_ID: 20.0}),
        request(2, digits, logit_bias={EOS_TOKEN_ID: 20.0}),
        request(3, word, min_tokens=40),
    )
    assert (len(outcomes[1].token_ids), outcomes[1].reason) == (40, FinishReason.STOP)
    assert len(outcomes[2].token_ids) < 40
    assert outcomes[3].reason is FinishReason.STOP


def test_log_probabilities_are_of_the_masked_distribution(engine: Engine) -> None:
    """They sum to one over what the grammar allows: here ten digits."""
    outcome = run(engine, request(1, Constraint(ConstraintKind.REGEX, ("[0-9]",)), logprobs=20))[1]
    [logprobs] = outcome.logprobs
    assert len(logprobs.top) == 10
    assert sum(2.718281828459045**top.logprob for top in logprobs.top) == pytest.approx(1.0)


def test_greedy_constrained_output_is_the_likeliest_allowed(engine: Engine) -> None:
    """Token by token, the choice is the first of the alternatives that are told."""
    outcome = run(engine, request(1, PHONE, temperature=0.0, max_tokens=20, logprobs=1))[1]
    assert [entry.top[0].token_id for entry in outcome.logprobs] == outcome.token_ids


def test_bad_constraint_fails_its_sequence_alone(engine: Engine) -> None:
    """The gateway refuses them; one that comes through costs nobody else anything."""
    outcomes = run(engine, request(1, Constraint(ConstraintKind.REGEX, ("(",))), request(2, PHONE))
    assert [outcomes[key].reason for key in (1, 2)] == [FinishReason.ERROR, FinishReason.STOP]
    assert engine.stats().num_running == 0


def test_slow_grammar_costs_its_neighbours_no_step(engine: Engine) -> None:
    """Its second mask takes a good part of a second. Who has no constraint gets a token in each step meanwhile."""
    engine.add(request(1, slow_grammar(390)))
    engine.add(request(2, None, max_tokens=4000, ignore_eos=True))
    engine.step()
    steps: list[dict[int, int]] = []
    has_ended = False
    while not has_ended:
        outputs = engine.step().outputs
        steps.append({output.key: len(output.token_ids) for output in outputs})
        has_ended = any(output.end is not None for output in outputs)
    assert [step[2] for step in steps] == [1] * len(steps)
    assert sum(1 in step for step in steps) < 10 < len(steps)
    engine.cancel(2)
