"""A stack that drafts: the answers are what they are without, and its counters say how drafts fared."""

from collections.abc import Iterator

import pytest
from near_tie import ReferenceModel, assert_greedy_equal
from stack.running import RunningStack, running_stack
from transformers import AutoTokenizer

from penstock.local.paths import pocket_model_dir

_TEXT = "one two three four five six seven eight nine ten. " * 4
_NUM_TOKENS = 40


@pytest.fixture(scope="module")
def drafting_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One replica of the pocket model in float32, with four tokens drafted wherever text repeats."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PENSTOCK_WORKER_DRAFT_TOKENS", "4")
        state_dir = tmp_path_factory.mktemp("drafting")
        with running_stack(state_dir, "--replicas=1", "--dtype=float32", "--speculate=prompt-lookup") as running:
            yield running


def test_drafts_change_no_answer_and_are_counted(drafting_stack: RunningStack) -> None:
    """From the command line's flag to the engine and back to its counters."""
    prompt = AutoTokenizer.from_pretrained(pocket_model_dir())(_TEXT)["input_ids"]
    with drafting_stack.client() as client:
        answer = client.generate(
            token_ids=prompt,
            max_tokens=_NUM_TOKENS,
            temperature=0,
            cache="bypass",
            ignore_eos=True,
            return_token_ids=True,
        )
    assert len(answer.token_ids) == _NUM_TOKENS
    assert_greedy_equal(ReferenceModel(pocket_model_dir()), prompt, answer.token_ids)
    (replica,) = drafting_stack.replicas()
    stats = drafting_stack.worker_stats(replica.address)
    assert 0 < stats.num_accepted_tokens <= stats.num_drafted_tokens
    assert stats.engine_step < _NUM_TOKENS


def test_prompt_logprobs_are_those_of_transformers_and_come_first(drafting_stack: RunningStack) -> None:
    """Of each token of the prompt but the first, once for both choices, before any of their tokens."""
    prompt = AutoTokenizer.from_pretrained(pocket_model_dir())(_TEXT)["input_ids"]
    with (
        drafting_stack.client() as client,
        client.stream(
            token_ids=prompt, max_tokens=3, n=2, temperature=1.0, prompt_logprobs=2, seed=1, ignore_eos=True
        ) as stream,
    ):
        kinds = [type(event).__name__ for event in stream]
        answer = stream.answer()
    last_scores = max(index for index, kind in enumerate(kinds) if kind == "PromptLogprobs")
    assert last_scores < kinds.index("Delta")
    expected = ReferenceModel(pocket_model_dir()).logits(prompt).log_softmax(dim=-1)
    assert [each.token_id for each in answer.prompt_logprobs] == prompt[1:]
    for position, each in enumerate(answer.prompt_logprobs):
        assert each.logprob == pytest.approx(float(expected[position, each.token_id]), abs=1e-3)
        assert len(each.top) == 2
