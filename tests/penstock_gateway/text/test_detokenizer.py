"""Token ids become text exactly, however they arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_gateway.text.detokenizer import Detokenizer
from penstock_gateway.text.vocabulary import Vocabulary

_EVERY_BYTE = tuple(bytes([value]) for value in range(256))
_MIXED = (*_EVERY_BYTE, " né".encode(), "日本".encode(), "🙂".encode(), b"\xf0\x9f", b"\x99\x82 ok", b"")
_IDS = st.lists(st.integers(0, len(_MIXED) + 3), max_size=40)


def split(items: list[int], cuts: list[int]) -> list[list[int]]:
    """The items in pieces, cut at the given positions."""
    borders = [0, *sorted(cut % (len(items) + 1) for cut in cuts), len(items)]
    return [items[start:end] for start, end in pairwise(borders)]


@given(ids=_IDS, cuts=st.lists(st.integers(0, 1000), max_size=10), strips=st.booleans())
def test_any_split_gives_the_text_of_the_whole(ids: list[int], cuts: list[int], strips: bool) -> None:
    """A client must not see how steps were batched; the reference is Python's own decoding of all bytes at once."""
    detokenizer = Detokenizer(Vocabulary("f", _MIXED, strips_leading_space=strips))
    text = "".join(detokenizer.feed(piece) for piece in split(ids, cuts)) + detokenizer.finish()
    whole = b"".join(_MIXED[token_id] for token_id in ids if token_id < len(_MIXED)).decode(errors="replace")
    assert text == (whole.removeprefix(" ") if strips else whole)


@pytest.mark.parametrize("character", ["é", "日", "🙂"])
def test_half_a_character_is_held_back(character: str) -> None:
    """Protobuf strings must be whole UTF-8, and a client prints what it gets."""
    detokenizer = Detokenizer(Vocabulary("f", _EVERY_BYTE))
    pieces = [detokenizer.feed([byte]) for byte in character.encode()]
    assert pieces == [""] * (len(pieces) - 1) + [character]


def test_an_unfinished_character_comes_out_at_the_end() -> None:
    """An output cut by max_tokens ends in a replacement character, as decoding it whole would."""
    detokenizer = Detokenizer(Vocabulary("f", _EVERY_BYTE))
    assert detokenizer.feed([0xF0, 0x9F]) == ""
    assert detokenizer.finish() == "\N{REPLACEMENT CHARACTER}"


def test_only_one_leading_space_of_the_whole_output_is_stripped() -> None:
    """SentencePiece marks word starts with a space; later ones belong to the text."""
    detokenizer = Detokenizer(Vocabulary("f", (b" a", b" b"), strips_leading_space=True))
    assert [detokenizer.feed([0]), detokenizer.feed([1]), detokenizer.feed([0])] == ["a", " b", " a"]
