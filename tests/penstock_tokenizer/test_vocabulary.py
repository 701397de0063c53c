"""The table of ids and bytes: equal to the tokenizer's own decoder, or refused."""

import dataclasses
from pathlib import Path

import pytest
from fakes.tokenizer_dirs import EXPRESSIBLE, SPECIAL_TOKENS, unigram_with_byte_fallback, write_tokenizer_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders

from penstock_shared.errors import FailedPreconditionError
from penstock_tokenizer.checkpoint import read_checkpoint
from penstock_tokenizer.tokenizer import TextTokenizer, make_tokenizer
from penstock_tokenizer.vocabulary import Vocabulary, build_vocabulary

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text(alphabet=" \n<>xé日😀▁")


@pytest.fixture(scope="module")
def vocabularies(tokenizers: dict[str, TextTokenizer]) -> dict[str, Vocabulary]:
    """The tables of all tokenizers that one can express."""
    return {kind: build_vocabulary(tokenizers[kind]) for kind in EXPRESSIBLE}


@settings(max_examples=150)
@given(text=ANY_TEXT)
def test_the_table_decodes_any_text_as_the_tokenizer_does(
    tokenizers: dict[str, TextTokenizer], vocabularies: dict[str, Vocabulary], text: str
) -> None:
    """The gateway decodes every answer with it."""
    for kind, vocabulary in vocabularies.items():
        tokenizer = tokenizers[kind]
        (ids,) = tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=False)
        assert vocabulary.decode(ids) == tokenizer.decode(ids, skip_special_tokens=False), kind


def test_special_tokens_are_flagged_and_spelled(vocabularies: dict[str, Vocabulary]) -> None:
    """Callers skip them by the flag, or show them by their bytes."""
    for kind, vocabulary in vocabularies.items():
        shown = {vocabulary.entries[token_id].decode() for token_id in vocabulary.special_ids}
        assert shown | {"<unk>"} == set(SPECIAL_TOKENS), kind


def test_byte_tokens_contribute_their_byte(
    tokenizers: dict[str, TextTokenizer], vocabularies: dict[str, Vocabulary]
) -> None:
    """A character of several tokens comes together only from its bytes."""
    for kind in ("byte_level_bpe", "unigram_with_byte_fallback", "bpe_with_prepending_normalizer"):
        text = "x😁"
        (ids,) = tokenizers[kind].encode_texts([text], add_special_tokens=False, allow_control_tokens=False)
        content = b"".join(vocabularies[kind].entries[token_id] for token_id in ids)
        assert (len(ids) >= 4, content.strip()) == (True, text.encode()), kind


def test_only_decoders_that_strip_a_leading_space_say_so(vocabularies: dict[str, Vocabulary]) -> None:
    """A wrong flag costs the first space of an answer, or adds one."""
    assert {kind: vocabulary.strips_leading_space for kind, vocabulary in vocabularies.items()} == {
        "byte_level_bpe": False,
        "unigram_with_byte_fallback": True,
        "unigram_with_metaspace_decoder": True,
        "bpe_with_prepending_normalizer": True,
    }


STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
REFUSED = {
    "word pieces": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "no decoder": None,
    "strips every token": {"type": "Sequence", "decoders": [STRIP]},
    "strips the end": {"type": "Sequence", "decoders": [{"type": "Fuse"}, STRIP | {"stop": 1}]},
    "replaces over tokens": {
        "type": "Sequence",
        "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}],
    },
    "replaces by an expression": {"type": "Replace", "pattern": {"Regex": "x+"}, "content": " "},
    "another decoder than its own": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
}


@pytest.mark.parametrize("decoder", REFUSED.values(), ids=REFUSED.keys())
def test_a_decoder_that_no_table_expresses_is_refused(
    tokenizers: dict[str, TextTokenizer], decoder: dict[str, object] | None
) -> None:
    """A table that is nearly right garbles answers now and then; the caller has Detokenize instead."""
    changed = dataclasses.replace(tokenizers["byte_level_bpe"], decoder=decoder)
    with pytest.raises(FailedPreconditionError, match="use Detokenize"):
        build_vocabulary(changed)


def test_a_first_token_read_in_another_way_is_refused(tmp_path: Path) -> None:
    """Metaspace drops every space of the first token, not just one: seen only in tokens of several words."""
    tokenizer = unigram_with_byte_fallback()
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    loaded = make_tokenizer(read_checkpoint(write_tokenizer_dir(tmp_path, tokenizer)))
    with pytest.raises(FailedPreconditionError, match="use Detokenize"):
        build_vocabulary(loaded)
