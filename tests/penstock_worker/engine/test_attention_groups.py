"""Chunks that attend together take their own rows of the step, and no others'."""

from array import array

import numpy as np
import torch

from penstock_worker.engine.attention_groups import Grouping
from penstock_worker.engine.batch import assemble
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.plan import Chunk, StepPlan

BLOCK_SIZE = 16


def _rows_of_groups(lengths: list[int], starts: list[int]) -> list[list[int]]:
    """The rows of a step that each group writes; the chunks have so many tokens and start there."""
    cache = KvCache(torch.zeros(1, 65, BLOCK_SIZE, 2, 8))
    blocks = array("q", range(64))
    chunks = [
        Chunk(key, array("q", [1] * length), start, blocks[: -(-(start + length) // BLOCK_SIZE)], 1)
        for key, (length, start) in enumerate(zip(lengths, starts, strict=True))
    ]
    batch = assemble(StepPlan(chunks, []), block_size=BLOCK_SIZE, padding_block_id=cache.padding_block_id)
    everything = torch.arange(sum(lengths))
    groups = Grouping(cache, batch, window=None, tile_blocks=8).groups()
    return [
        sorted(everything[rows if isinstance(rows := group.rows, slice) else rows.rows].tolist()) for group in groups
    ]


def test_chunk_between_two_of_another_group_keeps_its_rows() -> None:
    """28 rows, two of another group, 30 rows: the last begin where they would if the first were 30."""
    rows = _rows_of_groups([2, 2, 1, 1, 1, 28, 2, 30], [41, 15, 26, 38, 29, 24, 0, 0])
    assert rows == [[*range(7), 35, 36], [*range(7, 35), *range(37, 67)]]


def test_each_row_is_written_by_one_group() -> None:
    """A row that two groups write has the result of the later one, for another sequence's query."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        lengths = generator.permutation([1, 1, 1, 2, 2, 2, 28, 30]).tolist()
        rows = _rows_of_groups(lengths, generator.integers(0, 60, 8).tolist())
        assert sorted(row for group in rows for row in group) == list(range(sum(lengths)))
