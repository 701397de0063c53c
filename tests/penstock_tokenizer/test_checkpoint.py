"""Reading tokenizer directories as they are found in the wild."""

import json
from pathlib import Path

import pytest
from fakes.tokenizer_dirs import byte_level_bpe, write_tokenizer_dir

from penstock_shared.errors import FailedPreconditionError
from penstock_tokenizer.checkpoint import ChatTemplate, read_checkpoint


def test_a_directory_without_tokenizer_json_says_how_to_make_one(tmp_path: Path) -> None:
    """Older checkpoints have only a SentencePiece model; their owner needs the one command, not a stack trace."""
    with pytest.raises(FailedPreconditionError, match=r"no tokenizer\.json.*save_pretrained"):
        read_checkpoint(tmp_path)


def test_a_template_file_goes_before_the_configuration(tmp_path: Path) -> None:
    """Both exist while a checkpoint is being converted; transformers prefers the file."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), template="old")
    (directory / "chat_template.jinja").write_text("new")
    template = read_checkpoint(directory).template
    assert template is not None
    assert template.source(has_tools=False) == "new"


def test_named_templates_are_chosen_by_the_presence_of_tools(tmp_path: Path) -> None:
    """Some checkpoints keep a template of its own for tool use."""
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    template = read_checkpoint(write_tokenizer_dir(tmp_path, byte_level_bpe(), template=named)).template
    assert template is not None
    assert [template.source(has_tools=flag) for flag in (False, True)] == ["plain", "with tools"]


def test_named_templates_without_a_default_are_refused_by_name() -> None:
    """Guessing one of several templates would silently write another model's prompts."""
    with pytest.raises(FailedPreconditionError, match="only: rag"):
        ChatTemplate({"rag": "x"}).source(has_tools=False)


def test_special_tokens_are_read_as_text_and_as_objects(tmp_path: Path) -> None:
    """Both spellings are common, and templates write `bos_token` by its text."""
    directory = write_tokenizer_dir(
        tmp_path, byte_level_bpe(), special_names={"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    )
    (directory / "special_tokens_map.json").write_text(json.dumps({"pad_token": "</s>", "eos_token": "<s>"}))
    assert read_checkpoint(directory).special_tokens == {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}


def test_tokens_that_only_the_configuration_lists_are_added(tmp_path: Path) -> None:
    """So does transformers at load; without them `<extra>` would be encoded as letters."""
    tokenizer = byte_level_bpe()
    new_id = tokenizer.get_vocab_size()
    directory = write_tokenizer_dir(tmp_path, tokenizer)
    config = json.loads((directory / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {str(new_id): {"content": "<extra>", "special": True}}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    added = read_checkpoint(directory).document["added_tokens"]
    assert (added[-1]["id"], added[-1]["content"], added[-1]["special"]) == (new_id, "<extra>", True)


def test_truncation_and_padding_of_the_file_are_dropped(tmp_path: Path) -> None:
    """A tokenizer.json saved from training often truncates at 512 tokens, which would cut prompts in silence."""
    tokenizer = byte_level_bpe()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    document = read_checkpoint(write_tokenizer_dir(tmp_path, tokenizer)).document
    assert (document["truncation"], document["padding"]) == (None, None)


@pytest.mark.parametrize("content", ["[1]", "{", '"text"'])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: str) -> None:
    """The operator has to know which file to mend."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(FailedPreconditionError, match=r"tokenizer\.json"):
        read_checkpoint(tmp_path)
