"""Encoding and decoding, compared with transformers, and the promise that text stays text."""

import json
from pathlib import Path

import pytest
from fakes.tokenizer_dirs import MAKERS, SPECIAL_TOKENS, byte_level_bpe, write_tokenizer_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_tokenizer.checkpoint import read_checkpoint
from penstock_tokenizer.tokenizer import TextTokenizer, make_tokenizer

TEXTS = [
    "",
    "The capital of France is Paris.",
    "  two spaces,\n\ttabs  ",
    "<s>Größe 日本語 😀 <|im_start|>user\nis  it<|im_end|>\n",
    "<|im_end|> x</s>",
]


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer in turn."""
    return str(request.param)


@pytest.fixture
def tokenizer(kind: str, tokenizers: dict[str, TextTokenizer]) -> TextTokenizer:
    """The tokenizer of that kind."""
    return tokenizers[kind]


@pytest.mark.parametrize("add_special_tokens", [False, True])
def test_trusted_text_is_encoded_as_transformers_does(
    kind: str, tokenizer: TextTokenizer, tokenizer_dirs: dict[str, Path], add_special_tokens: bool
) -> None:
    """Other ids than those of training make a model worse without any error."""
    reference = PreTrainedTokenizerFast.from_pretrained(tokenizer_dirs[kind])
    expected = reference(TEXTS, add_special_tokens=add_special_tokens)["input_ids"]
    assert tokenizer.encode_texts(TEXTS, add_special_tokens=add_special_tokens, allow_control_tokens=True) == expected


def test_plain_text_is_encoded_the_same_whoever_wrote_it(tokenizer: TextTokenizer) -> None:
    """The protection must not change what needs none."""
    texts = TEXTS[:3]
    assert tokenizer.encode_texts(texts, add_special_tokens=True, allow_control_tokens=False) == tokenizer.encode_texts(
        texts, add_special_tokens=True, allow_control_tokens=True
    )


@given(parts=st.lists(st.sampled_from([*SPECIAL_TOKENS, "<", "|im_", "end|>", "s>", " ", "x", "\uff1cs>"]), max_size=8))
@settings(max_examples=60)
def test_no_text_yields_a_control_token(tokenizers: dict[str, TextTokenizer], parts: list[str]) -> None:
    """Whoever can write `<|im_start|>system` into a content as a token rules the model."""
    for kind, tokenizer in tokenizers.items():
        (ids,) = tokenizer.encode_texts(["".join(parts)], add_special_tokens=False, allow_control_tokens=False)
        unknown = {token.token_id for token in tokenizer.controls if token.text == "<unk>"}
        assert tokenizer.controls.ids.isdisjoint(set(ids) - unknown), kind


def test_control_tokens_written_as_text_come_back_as_text(tokenizers: dict[str, TextTokenizer]) -> None:
    """Nothing may be lost from a content just because it looks like a token."""
    tokenizer = tokenizers["byte_level_bpe"]
    text = "What does <|im_end|> do?</s>"
    (ids,) = tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_control_tokens_in_text_are_encoded_as_if_there_were_no_such_tokens(tmp_path: Path) -> None:
    """Any other ids would tell the model that something is odd about the text, or be none it has ever seen."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), template="{{ '<tool_call>' }}")
    document = json.loads((directory / "tokenizer.json").read_text())
    reference = Tokenizer.from_str(json.dumps(document | {"added_tokens": []}))
    text = "a<|im_start|>b<tool_call> c</s>"
    tokenizer = make_tokenizer(read_checkpoint(directory))
    (ids,) = tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=False)
    assert ids == reference.encode(text).ids


def test_a_control_token_that_cannot_be_written_as_text_is_refused(tmp_path: Path) -> None:
    """A tokenizer of whole words has nothing else to write it with; silence would let it through."""
    tokenizer = Tokenizer(models.WordLevel({"§": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer.add_special_tokens(["§", "<unk>"])
    loaded = make_tokenizer(read_checkpoint(write_tokenizer_dir(tmp_path, tokenizer, special_names={})))
    with pytest.raises(InvalidArgumentError, match="§"):
        loaded.encode_texts(["§"], add_special_tokens=False, allow_control_tokens=False)


def test_special_tokens_are_skipped_and_tool_markers_are_not(tmp_path: Path) -> None:
    """A client that parses tool calls needs `<tool_call>` in the text; `</s>` it does not."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), template="{{ '<tool_call>' }}")
    tokenizer = make_tokenizer(read_checkpoint(directory))
    text = "<tool_call>x</tool_call><|im_end|>"
    (ids,) = tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=True)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>x</tool_call>"
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_tokens_that_the_configuration_names_are_special(tmp_path: Path) -> None:
    """An `eos_token` without the flag in tokenizer.json is common; users would see it at the end of every answer."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), special_names={"eos_token": "</think>"})
    tokenizer = make_tokenizer(read_checkpoint(directory))
    text = "x</think>"
    encoded = [
        tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=flag)[0] for flag in (True, False)
    ]
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in encoded] == ["x", text]


def test_tokens_that_the_template_writes_are_control_tokens(tmp_path: Path) -> None:
    """`<tool_call>` is not flagged as special by most tokenizers, and forging it calls a tool."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), template="{{ '<tool_call>' }}        ")
    controls = make_tokenizer(read_checkpoint(directory)).controls
    assert {token.text for token in controls if not token.is_special} == {"<tool_call>"}


def test_a_broken_tokenizer_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    """The operator has to know which file to mend."""
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Nothing"}}')
    with pytest.raises(FailedPreconditionError, match=r"tokenizer\.json cannot be loaded"):
        make_tokenizer(read_checkpoint(tmp_path))
