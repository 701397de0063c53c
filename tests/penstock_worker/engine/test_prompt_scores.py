"""Log probabilities of the prompt: those that transformers gives, however the prompt is cut, and each of them once."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import VOCAB_SIZE
from near_tie import ReferenceModel

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest, TokenLogprobs

PENALIZED = SamplingOptions(max_tokens=8, repetition_penalty=3.0, logit_bias={5: 50.0})


def _prompt(length: int) -> list[int]:
    generator = random.Random(length)
    return [generator.randrange(VOCAB_SIZE) for _ in range(length)]


def _request(key: int, prompt: list[int], **fields: int) -> SequenceRequest:
    return SequenceRequest(key=key, prompt_token_ids=prompt, sampling=PENALIZED, prompt_logprobs=3, **fields)


def _run(engine: Engine) -> tuple[dict[int, list[TokenLogprobs]], dict[int, list[int]]]:
    scores: dict[int, list[TokenLogprobs]] = {}
    token_ids: dict[int, list[int]] = {}
    while engine.has_work:
        for output in engine.step().outputs:
            scores.setdefault(output.key, []).extend(output.prompt_logprobs)
            token_ids.setdefault(output.key, []).extend(output.token_ids)
    return scores, token_ids


def _assert_scores(scores: list[TokenLogprobs], prompt: list[int], reference: ReferenceModel) -> None:
    table = reference.logits(prompt[:-1]).log_softmax(dim=-1)
    assert [score.token_id for score in scores] == prompt[1:]
    expected = table.gather(1, torch.tensor(prompt[1:]).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(torch.tensor([score.logprob for score in scores]), expected, atol=1e-4, rtol=0.0)
    tops = torch.tensor([[top.logprob for top in score.top] for score in scores])
    torch.testing.assert_close(tops, table.topk(3, dim=-1).values, atol=1e-4, rtol=0.0)
    at_tops = table.gather(1, torch.tensor([[top.token_id for top in score.top] for score in scores]))
    torch.testing.assert_close(tops, at_tops, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("family", ["llama_tied", "mistral_window", "qwen3"])
@pytest.mark.parametrize("max_step_tokens", [23, 2048])
def test_scores_equal_transformers(
    family: str,
    max_step_tokens: int,
    checkpoint: Callable[[str], Path],
    reference: Callable[[str], ReferenceModel],
) -> None:
    """Chunk by chunk or at once, beside others, over more rows than one slice: the model's own distribution."""
    engine, _ = build_engine(checkpoint(family), EngineConfig(max_step_tokens=max_step_tokens))
    prompts = [_prompt(length) for length in (2, 30, 300)]
    for key, prompt in enumerate(prompts):
        engine.add(_request(key, prompt))
    engine.add(SequenceRequest(key=9, prompt_token_ids=_prompt(40), sampling=PENALIZED))
    scores, _ = _run(engine)
    for key, prompt in enumerate(prompts):
        _assert_scores(scores[key], prompt, reference(family))
    assert scores[9] == []


def test_preempted_sequence_has_its_scores_once(
    checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Computed again, a token gets no second score: the first is with the client."""
    kv_memory_bytes = 21 * 16 * (3 * 2 * 2 * 16 * 4)
    engine, _ = build_engine(checkpoint("llama"), EngineConfig(kv_memory_bytes=kv_memory_bytes, max_step_tokens=32))
    prompt = _prompt(120)
    engine.add(_request(1, prompt))
    early = [score for _ in range(2) for output in engine.step().outputs for score in output.prompt_logprobs]
    assert len(early) == 64
    engine.add(SequenceRequest(key=2, prompt_token_ids=_prompt(250), sampling=PENALIZED, criticality=3))
    scores, _ = _run(engine)
    assert engine.stats().num_preemptions == 1
    _assert_scores(early + scores[1], prompt, reference("llama"))


def test_scores_start_at_the_offset_and_change_no_output(checkpoint: Callable[[str], Path]) -> None:
    """What a gateway has got already does not come again."""
    prompt = _prompt(50)
    engine, _ = build_engine(checkpoint("llama"), EngineConfig())
    engine.add(SequenceRequest(key=0, prompt_token_ids=prompt, sampling=PENALIZED))
    engine.add(_request(1, prompt, prompt_logprob_offset=45))
    engine.add(_request(2, prompt, prompt_logprob_offset=50))
    engine.add(_request(3, prompt[:1]))
    scores, token_ids = _run(engine)
    assert [score.token_id for score in scores[1]] == prompt[45:]
    assert (scores[2], scores[3]) == ([], [])
    assert token_ids[0] == token_ids[1] == token_ids[2]


def test_a_long_prompt_is_scored_in_bounded_messages(checkpoint: Callable[[str], Path]) -> None:
    """The scores of a step travel in one message and wait in one client's buffer."""
    engine, _ = build_engine(checkpoint("llama"), EngineConfig())
    engine.add(_request(1, _prompt(500)))
    lengths = []
    while engine.has_work:
        lengths += [len(output.prompt_logprobs) for output in engine.step().outputs if output.prompt_logprobs]
    assert lengths == [256, 243]
