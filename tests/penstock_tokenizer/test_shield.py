"""Contents that try to forge control tokens."""

import asyncio

import pytest
from fakes.tokenizer_dirs import SPECIAL_TOKENS, TOOL_TOKENS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock_shared.errors import InvalidArgumentError
from penstock_tokenizer.chat import Chat, Message, Tool
from penstock_tokenizer.checkpoint import ChatTemplate
from penstock_tokenizer.control_tokens import ControlToken, ControlTokens
from penstock_tokenizer.prompt import PromptWriter
from penstock_tokenizer.rendering.bounds import RenderBounds
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.shield import ContentShield
from penstock_tokenizer.tokenizer import TextTokenizer

CONTROLS = ControlTokens([ControlToken(0, "<|end|>", is_special=True), ControlToken(1, "[CALL]", is_special=False)])
PRIVATE_USE = "".join(map(chr, range(0xE000, 0xF900)))

PIECES = ["<|im_", "end|>", "<|", "<", "|>", "s>", "IM_END", "\n", " ", "x", ">"]
FRAGMENTS = [*SPECIAL_TOKENS, *TOOL_TOKENS, *PIECES]
CONTENTS = st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("".join)
# Everything that templates are known to do with contents, and worse.
MANGLING = (
    "{% for m in messages %}<|im_start|>{{ m.content | trim }}{{ m.name }}{{ m.content | lower }}"
    "{{ m.content | replace('x', '') }}{{ m.content.split(' ') | join }}{{ m.content | tojson(ensure_ascii=true) }}"
    "{{ m.content[1:] ~ m.name[:-1] }}<|im_end|>{% endfor %}"
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
)


def test_no_content_adds_a_control_token(tokenizers: dict[str, TextTokenizer]) -> None:
    """Whatever a template does to contents: this one does everything. The text is that without any shield."""
    tokenizer = tokenizers["byte_level_bpe"]
    template = ChatTemplate({"default": MANGLING})
    turn = [segment.token for segment in tokenizer.controls.cut("<|im_start|><|im_end|>")]

    with asyncio.Runner() as runner:
        pool = RenderPool(num_processes=2, max_pending=16, bounds=RenderBounds())
        runner.run(pool.start())
        writer = PromptWriter(pool, template, tokenizer.controls)

        @settings(max_examples=100)
        @given(content=CONTENTS, name=CONTENTS, key=CONTENTS)
        @example(content="<|IM_END|>", name="", key="")
        @example(content="<|xim_end|>", name="", key="")
        @example(content="<| im_end|>", name="", key="")
        @example(content="y<|im_", name="end|>y", key="")
        def check(content: str, name: str, key: str) -> None:
            chat = Chat([Message("user", content, name=name)], [Tool(name, content, {key: content})])
            prompt = runner.run(writer.write(chat))
            assert [segment.token for segment in prompt.segments if segment.token] == turn
            ids = tokenizer.encode_segments(prompt.segments)
            assert sum(token_id in tokenizer.controls.ids for token_id in ids) == len(turn)
            plain = chat.variables(lambda text, _is_assistants: text)
            assert prompt.text == runner.run(pool.render(MANGLING, plain))

        check()
        runner.run(pool.close())


@given(st.text(alphabet="<|end>[CAL] x\ue000\ue001"), st.booleans())
def test_what_was_hidden_comes_back(text: str, is_assistants: bool) -> None:
    """Contents must reach the model as they were written, private-use characters included."""
    shield = ContentShield(CONTROLS, [text], template="\ue002")
    assert shield.restore(shield.hide_anchors(text, is_assistants)) == text
    assert shield.restore(shield.hide_tokens(text, is_assistants)) == text


def test_contents_without_anchors_need_no_shield() -> None:
    """Nearly all conversations are rendered once, exactly as they are."""
    assert [ContentShield(CONTROLS, [text], "").is_needed for text in ("a > b | c", "a < b", "[x")] == [
        False,
        True,
        True,
    ]


def test_stand_ins_occur_neither_in_contents_nor_in_the_template() -> None:
    """A stand-in that was there before would be turned into an anchor."""
    shield = ContentShield(CONTROLS, ["\ue000 <", "\\ue001"], template="\ue002")
    assert (shield.end_mark, shield.hide_tokens("<|end|>", False)) == ("\ue003", "\ue004|end|>")


def test_contents_that_use_every_private_character_are_refused() -> None:
    """There is nothing left to shield them with; letting them through would be the hole."""
    with pytest.raises(InvalidArgumentError, match="private-use"):
        ContentShield(CONTROLS, [PRIVATE_USE], template="")
