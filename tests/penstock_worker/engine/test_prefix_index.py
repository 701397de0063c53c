"""A name is not believed: tokens and everything before them have to agree."""

from penstock_shared.prefix_chain import PrefixBlock
from penstock_worker.engine.prefix_index import PrefixChange, PrefixIndex

ROOT = b"root"
FIRST = PrefixBlock(b"a", ROOT, b"tokens of a")
SECOND = PrefixBlock(b"b", b"a", b"tokens of b")


def _index() -> PrefixIndex:
    index = PrefixIndex()
    assert index.keep(FIRST, 7, None) == 7
    assert index.keep(SECOND, 8, 7) == 8
    return index


def test_longest_known_beginning_is_found() -> None:
    """In order, up to the first block that is not known."""
    index = _index()
    assert index.find([FIRST, SECOND, PrefixBlock(b"c", b"b", b"")]) == [7, 8]
    assert index.find([PrefixBlock(b"c", ROOT, b""), SECOND]) == []


def test_block_of_equal_name_and_other_tokens_is_not_found() -> None:
    """A collision must not return another prompt's keys and values."""
    index = _index()
    assert index.find([FIRST, SECOND._replace(token_bytes=b"others")]) == [7]
    assert index.keep(FIRST._replace(token_bytes=b"others"), 9, None) is None


def test_block_of_equal_tokens_and_another_past_is_not_found() -> None:
    """Keys and values depend on all tokens before them."""
    index = _index()
    other = PrefixBlock(b"x", ROOT, b"other past")
    index.keep(other, 9, None)
    assert index.find([other, SECOND]) == [9]
    assert index.keep(SECOND, 10, 9) is None


def test_equal_block_is_kept_once() -> None:
    """The later one is told which block to use instead."""
    assert _index().keep(SECOND, 9, 7) == 8


def test_block_without_its_parent_is_not_kept() -> None:
    """It could never be found."""
    index = _index()
    index.remove_chains({7})
    assert index.keep(SECOND, 8, 7) is None


def test_removed_chain_takes_what_follows_with_it() -> None:
    """What was computed from spoilt keys and values is spoilt."""
    index = _index()
    index.keep(PrefixBlock(b"x", ROOT, b"elsewhere"), 9, None)
    index.take_changes()
    assert index.remove_chains({7}) == [7, 8]
    assert len(index) == 1
    assert index.take_changes() == [PrefixChange(b"b", is_stored=False), PrefixChange(b"a", is_stored=False)]
    assert index.take_changes() == []
