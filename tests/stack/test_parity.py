"""What the stack answers is what the model says."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes.checkpoints import VOCAB_SIZE, save_checkpoint
from fakes.tokenizer_dirs import byte_level_bpe, write_tokenizer_dir
from near_tie import ReferenceModel, assert_greedy_equal
from stack.running import RunningStack, running_stack
from transformers import AutoTokenizer

from penstock import Answer, AsyncClient
from penstock.local.paths import pocket_model_dir

_NUM_PROMPTS = 64
_QUESTIONS = Path(__file__).parents[2] / "models/pocket/training/handwritten.jsonl"


async def _ask_all_at_once(address: str, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[Answer]:
    async with AsyncClient(address) as client:
        calls = [
            client.generate(
                token_ids=prompt, max_tokens=max_tokens, temperature=0, cache="bypass", return_token_ids=True
            )
            for prompt in prompts
        ]
        return await asyncio.gather(*calls)


def _check(model_dir: Path, prompts: Sequence[Sequence[int]], answers: Sequence[Answer]) -> None:
    reference = ReferenceModel(model_dir)
    for prompt, answer in zip(prompts, answers, strict=True):
        (choice,) = answer.choices
        assert_greedy_equal(reference, prompt, choice.token_ids, stop_token_id=choice.stop_token_id)
    assert len({answer.replica for answer in answers}) == 2, "both replicas took part"


def _pocket_prompts() -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(pocket_model_dir())
    questions = [json.loads(line)["question"] for line in _QUESTIONS.read_text().splitlines()][:_NUM_PROMPTS]
    chats = [[{"role": "user", "content": question}] for question in questions]
    return [tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False) for c in chats]


def test_64_questions_at_once_equal_transformers_unbatched(stack: RunningStack) -> None:
    """Batching, paging and balancing must not change a token."""
    prompts = _pocket_prompts()
    assert len({tuple(prompt) for prompt in prompts}) == _NUM_PROMPTS
    answers = asyncio.run(_ask_all_at_once(stack.gateway_address, prompts, max_tokens=32))
    _check(pocket_model_dir(), prompts, answers)


@pytest.fixture(params=["llama", "qwen2", "mistral_window"])
def random_model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, RunningStack]]:
    """A random checkpoint of a family, and a stack that serves it."""
    model_dir = save_checkpoint(request.param, tmp_path / "model")
    write_tokenizer_dir(model_dir, byte_level_bpe())
    with running_stack(tmp_path / "state", "--model", str(model_dir), "--dtype=float32") as running:
        yield model_dir, running


def test_64_prompts_at_once_equal_transformers_for_every_family(random_model: tuple[Path, RunningStack]) -> None:
    """Biases, grouped heads, and a window that is shorter than the prompt."""
    model_dir, running = random_model
    randomness = random.Random(5)
    prompts = [[randomness.randrange(VOCAB_SIZE) for _ in range(3 + 2 * i)] for i in range(_NUM_PROMPTS)]
    answers = asyncio.run(_ask_all_at_once(running.gateway_address, prompts, max_tokens=64))
    assert {len(answer.token_ids) for answer in answers} == {64}
    _check(model_dir, prompts, answers)
