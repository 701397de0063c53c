"""Incremental decoding: the pieces together are the whole, and no piece ends inside a character."""

import pytest
from fakes.tokenizer_dirs import MAKERS
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_tokenizer.detokenizer import IncrementalDecoder
from penstock_tokenizer.tokenizer import TextTokenizer


def encode(tokenizer: TextTokenizer, text: str, *, trusted: bool = False) -> list[int]:
    """The ids of one text."""
    return tokenizer.encode_texts([text], add_special_tokens=False, allow_control_tokens=trusted)[0]


@settings(max_examples=100)
@given(text=st.text(alphabet="the capital, is 's! n't é日😀👩‍👧 \n"), step=st.integers(1, 4))
def test_the_pieces_are_the_whole_text(tokenizers: dict[str, TextTokenizer], text: str, step: int) -> None:
    """A stream must show what one call would have."""
    for kind in MAKERS:
        tokenizer = tokenizers[kind]
        ids = encode(tokenizer, text)
        decoder = IncrementalDecoder(tokenizer)
        pieces = [decoder.add(ids[start : start + step]) for start in range(0, len(ids), step)]
        pieces.append(decoder.finish())
        assert "".join(pieces) == tokenizer.decode(ids, skip_special_tokens=True), kind


@pytest.mark.parametrize("kind", ["byte_level_bpe", "unigram_with_byte_fallback"])
def test_bytes_of_an_unfinished_character_are_held_back(tokenizers: dict[str, TextTokenizer], kind: str) -> None:
    """Half an emoji is shown as rubbish that cannot be taken back."""
    tokenizer = tokenizers[kind]
    decoder = IncrementalDecoder(tokenizer)
    pieces = [decoder.add([token_id]) for token_id in encode(tokenizer, "x😁")]
    assert [piece for piece in pieces if piece] == ["x", "😁"]


def test_what_never_becomes_a_character_comes_out_at_the_end(tokenizers: dict[str, TextTokenizer]) -> None:
    """A model may stop in the middle of one; the caller sees that something was there."""
    tokenizer = tokenizers["byte_level_bpe"]
    decoder = IncrementalDecoder(tokenizer)
    ids = encode(tokenizer, "x😁")[:-1]
    assert (decoder.add(ids[:1]), decoder.add(ids[1:]), decoder.finish()) == ("x", "", "\ufffd")


def test_endless_rubbish_is_not_held_for_ever(tokenizers: dict[str, TextTokenizer]) -> None:
    """Otherwise each step would decode the whole output again, and memory would grow."""
    tokenizer = tokenizers["byte_level_bpe"]
    decoder = IncrementalDecoder(tokenizer)
    continuation = encode(tokenizer, "😁")[-1:]
    assert [bool(decoder.add(continuation)) for _ in range(65)] == [False] * 64 + [True]


def test_special_tokens_show_nothing_and_cost_nothing(tokenizers: dict[str, TextTokenizer]) -> None:
    """They end turns; they are no text."""
    tokenizer = tokenizers["unigram_with_byte_fallback"]
    decoder = IncrementalDecoder(tokenizer)
    assert decoder.add(encode(tokenizer, "<s>the</s> capital", trusted=True)) == "the capital"
