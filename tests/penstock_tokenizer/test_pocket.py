"""The embedded model's own tokenizer and template."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from penstock_tokenizer.catalog import load_model
from penstock_tokenizer.chat import Chat, Message
from penstock_tokenizer.prompt import PromptWriter
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.vocabulary import Vocabulary

POCKET = Path(__file__).parents[2] / "models" / "pocket"
TURNS = [
    ("system", "Be brief."),
    ("user", " What is the capital of France?\n"),
    ("assistant", "Paris."),
    ("user", "Why?"),
]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not (POCKET / "tokenizer.json").is_file(), reason="the pocket model is not there"),
]


async def test_pocket_prompts_equal_those_of_transformers(render_pool: RenderPool) -> None:
    """It was trained on them."""
    model = load_model("pocket", POCKET)
    chat = Chat([Message(role, content) for role, content in TURNS], add_generation_prompt=True)
    prompt = await PromptWriter(render_pool, model.template, model.tokenizer.controls).write(chat)
    turns = [{"role": role, "content": content} for role, content in TURNS]
    reference = PreTrainedTokenizerFast.from_pretrained(POCKET)
    expected = reference.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert model.tokenizer.encode_segments(prompt.segments) == expected


async def test_pocket_answers_are_decoded_by_a_table() -> None:
    """The gateway then needs no call per token."""
    model = load_model("pocket", POCKET)
    assert isinstance(model.vocabulary, Vocabulary)
    (ids,) = model.tokenizer.encode_texts(["Größe 😀"], add_special_tokens=False, allow_control_tokens=False)
    assert model.vocabulary.decode(ids) == "Größe 😀"
