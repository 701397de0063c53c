"""Turns a step plan into flat arrays. Numpy only, and no loop over tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_worker.engine.plan import StepPlan

Ids = NDArray[np.int64]

# Reading a token's key and value costs as much as attending to it with this many queries.
_READ_COST = 8
# A further group costs as much, in fixed overhead, as this many queries attending to one token each.
_GROUP_COST = 4096


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The chunks of a step, laid end to end.

    Attributes:
        token_ids: [num_tokens].
        positions: [num_tokens], of each token in its sequence.
        slots: [num_tokens], where its key and value go: block * block_size + offset.
        starts: [num_chunks], position of the first token.
        lengths: [num_chunks].
        block_tables: [num_chunks, max_blocks], padded with the padding block.
        logits_rows: [num_rows], those of the tokens that need logits, chunk by chunk.
    """

    token_ids: Ids
    positions: Ids
    slots: Ids
    starts: Ids
    lengths: Ids
    block_tables: Ids
    logits_rows: Ids

    @property
    def offsets(self) -> Ids:
        """[num_chunks], row of each chunk's first token."""
        return np.cumsum(self.lengths) - self.lengths


def assemble(plan: StepPlan, *, block_size: int, padding_block_id: int) -> StepBatch:
    """Lays the chunks of `plan` end to end."""
    chunks = plan.chunks
    lengths = np.array([len(chunk.token_ids) for chunk in chunks])
    starts = np.array([chunk.start for chunk in chunks])
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) + np.repeat(starts - ends + lengths, lengths)
    block_tables = _block_tables(plan, padding_block_id)
    rows = np.repeat(np.arange(len(chunks)), lengths)
    slots = block_tables[rows, positions // block_size] * block_size + positions % block_size
    token_ids = np.frombuffer(bytearray().join([chunk.token_ids for chunk in chunks]), np.int64)
    logits_rows = _last_rows(ends, np.array([chunk.num_logits_rows for chunk in chunks]))
    return StepBatch(token_ids, positions, slots, starts, lengths, block_tables, logits_rows)


def padded_groups(num_queries: Ids, num_keys: Ids) -> list[Ids]:
    """Groups chunks so that padding each group to its longest member about doubles the work at most.

    Args:
        num_queries: [num_chunks], tokens to compute.
        num_keys: [num_chunks], tokens to attend to.

    Returns:
        The indices of each group's chunks.
    """
    everything = np.arange(len(num_queries))
    costs = (num_queries + _READ_COST) * num_keys
    if _is_dense(everything, num_queries, num_keys, costs):
        return [everything]
    order = np.lexsort((num_keys, num_queries))
    groups: list[Ids] = []
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or not _is_dense(order[begin : end + 1], num_queries, num_keys, costs):
            groups.append(order[begin:end])
            begin = end
    return groups


def _is_dense(members: Ids, num_queries: Ids, num_keys: Ids, costs: Ids) -> bool:
    padded_cost = len(members) * (num_queries[members].max() + _READ_COST) * num_keys[members].max()
    return bool(padded_cost <= 2 * costs[members].sum() + _GROUP_COST)


def _last_rows(ends: Ids, counts: Ids) -> Ids:
    """The `counts` rows before each of `ends`, in order."""
    totals = np.cumsum(counts)
    return np.arange(totals[-1]) + np.repeat(ends - totals, counts)


def _block_tables(plan: StepPlan, padding_block_id: int) -> Ids:
    counts = np.array([len(chunk.block_ids) for chunk in plan.chunks])
    block_ids = np.frombuffer(bytearray().join([chunk.block_ids for chunk in plan.chunks]), np.int64)
    tables = np.full((len(counts), counts.max()), padding_block_id)
    tables[np.arange(counts.max()) < counts[:, None]] = block_ids
    return tables
