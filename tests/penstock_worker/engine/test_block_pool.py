"""The block pool counts references and never loses or doubles a block."""

import pytest

from penstock_worker.engine.block_pool import BlockPool


def test_blocks_come_in_the_order_in_which_they_became_free() -> None:
    """The block that was freed last is kept for longest: what is in it may be wanted again."""
    pool = BlockPool(num_blocks=3, block_size=4)
    assert pool.allocate(2) == [0, 1]
    pool.release([0])
    assert pool.allocate(2) == [2, 0]


def test_shared_block_is_free_after_its_last_holder() -> None:
    """Two sequences may read one block; the first that ends must not take it from the other."""
    pool = BlockPool(num_blocks=2, block_size=4)
    block_ids = pool.allocate(1)
    pool.share(block_ids)
    assert pool.num_spare([], block_ids) == 1
    pool.release(block_ids)
    pool.check_invariants([block_ids])
    assert (pool.num_free, pool.num_spare([], block_ids)) == (1, 2)
    pool.release(block_ids)
    assert pool.num_free == 2


def test_misuse_is_refused() -> None:
    """A block that is given out or back twice would mix two sequences' keys and values."""
    pool = BlockPool(num_blocks=2, block_size=4)
    with pytest.raises(ValueError, match="3 blocks wanted"):
        pool.allocate(3)
    with pytest.raises(ValueError, match="block 1 is free"):
        pool.release([1])
    with pytest.raises(ValueError, match="block 0 is free"):
        pool.share([0])
    assert pool.num_free == 2


@pytest.mark.parametrize("held", [[], [[0]], [[0, 1], [1]]])
def test_invariants_notice_wrong_holders(held: list[list[int]]) -> None:
    """A lost block, a wrong one and one too many are all noticed."""
    pool = BlockPool(num_blocks=3, block_size=4)
    pool.allocate(2)
    with pytest.raises(AssertionError):
        pool.check_invariants(held)


@pytest.mark.parametrize(("num_tokens", "num_blocks"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_last_block_may_be_filled_in_part(num_tokens: int, num_blocks: int) -> None:
    """Rounding down would write past the last block."""
    assert BlockPool(num_blocks=3, block_size=4).num_blocks_for(num_tokens) == num_blocks
