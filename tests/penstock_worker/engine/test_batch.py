"""Plans become flat arrays, and chunks of similar shape become groups."""

from array import array

import numpy as np
import pytest

from penstock_worker.engine.batch import assemble, padded_groups
from penstock_worker.engine.plan import Chunk, StepPlan


def test_chunks_are_laid_end_to_end() -> None:
    """Tokens, positions and slots of two chunks, of which one begins within a block."""
    chunks = [
        Chunk(1, array("q", [7, 8, 9]), 3, array("q", [5, 2]), num_logits_rows=2),
        Chunk(2, array("q", [4]), 0, array("q", [6]), num_logits_rows=1),
    ]
    batch = assemble(StepPlan(chunks, []), block_size=4, padding_block_id=10)
    assert batch.token_ids.tolist() == [7, 8, 9, 4]
    assert batch.positions.tolist() == [3, 4, 5, 0]
    assert batch.slots.tolist() == [5 * 4 + 3, 2 * 4 + 0, 2 * 4 + 1, 6 * 4 + 0]
    assert batch.block_tables.tolist() == [[5, 2], [6, 10]]
    assert batch.logits_rows.tolist() == [1, 2, 3]
    assert batch.offsets.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("num_queries", "num_keys", "expected"),
    [
        ([1, 1, 1], [16, 64, 32], [[0, 1, 2]]),
        ([1] * 5, [4096, 16, 32, 16, 4096], [[1, 3, 2], [0, 4]]),
        ([1] * 8 + [512], [512] * 9, [[0, 1, 2, 3, 4, 5, 6, 7], [8]]),
        ([200, 180, 190], [200, 180, 190], [[0, 1, 2]]),
    ],
)
def test_groups_are_of_similar_shape(num_queries: list[int], num_keys: list[int], expected: list[list[int]]) -> None:
    """Decoding beside a long prompt must not be padded to it; chunks of about the same size go together."""
    groups = padded_groups(np.array(num_queries), np.array(num_keys))
    assert [group.tolist() for group in groups] == expected


def test_each_chunk_is_in_one_group() -> None:
    """A chunk that is left out would keep whatever the memory held."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        num_queries = generator.integers(1, 300, 20) ** generator.integers(0, 2, 20)
        groups = padded_groups(num_queries, num_queries + generator.integers(0, 4000, 20))
        assert sorted(np.concatenate(groups).tolist()) == list(range(20))
