"""What a gateway knows of a replica's cached blocks is what it was told, or nothing."""

import pytest

from penstock_gateway.dispatch.prefix_map import PrefixMap
from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_shared.prefix_chain import CHAIN_FUNCTION

PROMPT = PromptNames(range(40), b"salt")
NAMES = list(PROMPT.hashes("r1", 8))


def _map(*, chain_function: str = CHAIN_FUNCTION, revision: str = "r1", max_blocks: int = 10) -> PrefixMap:
    return PrefixMap(chain_function=chain_function, revision=revision, block_size=8, max_blocks=max_blocks)


def _stored(*names: bytes) -> list[tuple[bytes, bool]]:
    return [(name, True) for name in names]


def test_the_last_token_has_no_name() -> None:
    """Its block is computed in any case, so finding it would be worth nothing."""
    assert len(NAMES) == 4
    assert len(PromptNames(range(41), b"salt").hashes("r1", 8)) == 5


@pytest.mark.parametrize("num_blocks", range(5))
def test_what_is_found_is_the_longest_beginning(num_blocks: int) -> None:
    """In tokens."""
    prefixes = _map()
    prefixes.take_snapshot(3, NAMES[:num_blocks], is_continuation=False)
    assert prefixes.num_found_tokens(PROMPT) == 8 * num_blocks


def test_other_salts_adapters_and_revisions_find_nothing() -> None:
    """They have no names in common."""
    prefixes, other = _map(), _map(revision="r2")
    for each in (prefixes, other):
        each.take_snapshot(0, NAMES, is_continuation=False)
    assert prefixes.num_found_tokens(PromptNames(range(40), b"other")) == 0
    assert prefixes.num_found_tokens(PromptNames(range(40), b"salt", adapter="a@1")) == 0
    assert other.num_found_tokens(PROMPT) == 0


def test_changes_are_taken_in_order() -> None:
    """Stored and removed."""
    prefixes = _map()
    prefixes.take_snapshot(3, [], is_continuation=False)
    assert prefixes.take_changes(4, _stored(*NAMES))
    assert prefixes.take_changes(8, [(NAMES[3], False), (NAMES[2], False)])
    assert prefixes.num_found_tokens(PROMPT) == 16


def test_a_gap_loses_everything_until_the_next_snapshot() -> None:
    """A block that is gone must not attract requests; the gap is told once."""
    prefixes = _map()
    prefixes.take_snapshot(3, NAMES, is_continuation=False)
    assert not prefixes.take_changes(5, [(b"x", False)])
    assert prefixes.num_found_tokens(PROMPT) == 0
    assert prefixes.take_changes(6, _stored(*NAMES))
    assert len(prefixes) == 0
    prefixes.take_snapshot(9, NAMES[:1], is_continuation=False)
    assert prefixes.take_changes(10, _stored(NAMES[1]))
    assert prefixes.num_found_tokens(PROMPT) == 16


def test_a_snapshot_comes_in_parts() -> None:
    """A part that continues another snapshot is ignored."""
    prefixes = _map()
    prefixes.take_snapshot(3, NAMES[:2], is_continuation=False)
    prefixes.take_snapshot(2, [b"x"], is_continuation=True)
    prefixes.take_snapshot(3, NAMES[2:], is_continuation=True)
    assert (len(prefixes), prefixes.num_found_tokens(PROMPT)) == (4, 32)


def test_more_blocks_than_the_replica_has_are_not_believed() -> None:
    """Memory is bounded by what a replica says of itself."""
    prefixes = _map(max_blocks=3)
    prefixes.take_snapshot(3, NAMES, is_continuation=False)
    assert len(prefixes) == 0
    prefixes.take_snapshot(3, NAMES[:3], is_continuation=False)
    assert not prefixes.take_changes(4, _stored(NAMES[3]))
    assert len(prefixes) == 0


def test_names_by_another_function_are_not_read() -> None:
    """A worker of another release names blocks otherwise: its index is no help, and does no harm."""
    prefixes = _map(chain_function="other")
    prefixes.take_snapshot(3, NAMES, is_continuation=False)
    assert prefixes.take_changes(9, _stored(*NAMES))
    assert prefixes.num_found_tokens(PROMPT) == 0
