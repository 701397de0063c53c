"""Attention of the deterministic mode: the same bits however a sequence is cut into chunks, and the right numbers."""

from array import array

import pytest
import torch

from penstock_worker.engine.batch import assemble
from penstock_worker.engine.fixed_attention import FixedAttention
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.models.attention_config import AttentionConfig

BLOCK_SIZE, NUM_TOKENS, NUM_KV_HEADS, NUM_SHARED, HEAD_DIM = 16, 300, 2, 3, 24
WINDOWS = [None, 12, 150, 200]
_GENERATOR = torch.Generator().manual_seed(4)
QUERIES = torch.randn(NUM_TOKENS, NUM_KV_HEADS * NUM_SHARED, HEAD_DIM, generator=_GENERATOR)
KEYS_VALUES = torch.randn(NUM_TOKENS, 2 * NUM_KV_HEADS, HEAD_DIM, generator=_GENERATOR)


def _attended(window: int | None, chunk_length: int) -> torch.Tensor:
    """What the sequence's tokens attend to, [num_tokens, num_heads * head_dim], a chunk a step."""
    num_blocks = -(-NUM_TOKENS // BLOCK_SIZE)
    cache = KvCache(torch.zeros(1, num_blocks + 1, BLOCK_SIZE, 2 * NUM_KV_HEADS, HEAD_DIM))
    config = AttentionConfig(windows=(window,), scale=HEAD_DIM**-0.5)
    attended = []
    for start in range(0, NUM_TOKENS, chunk_length):
        end = min(start + chunk_length, NUM_TOKENS)
        chunk = Chunk(1, array("q", [1] * (end - start)), start, array("q", range(-(-end // BLOCK_SIZE))), 1)
        batch = assemble(StepPlan([chunk], []), block_size=BLOCK_SIZE, padding_block_id=num_blocks)
        attended.append(FixedAttention(cache, batch, config)(0, QUERIES[start:end], KEYS_VALUES[start:end]))
    return torch.cat(attended)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("chunk_length", [1, 41, 130])
def test_chunks_change_no_bit(window: int | None, chunk_length: int) -> None:
    """Tiles are counted from the sequence's beginning, also where a window longer than a tile lets some be left out."""
    assert torch.equal(_attended(window, chunk_length), _attended(window, NUM_TOKENS))


@pytest.mark.parametrize("window", WINDOWS)
def test_it_is_attention(window: int | None) -> None:
    """The softmax over all keys that a query sees, computed at once in float64."""
    keys, values = KEYS_VALUES.double().repeat_interleave(NUM_SHARED, 1).chunk(2, 1)
    scores = torch.einsum("qhd,khd->hqk", QUERIES.double(), keys) * HEAD_DIM**-0.5
    distances = torch.arange(NUM_TOKENS)[:, None] - torch.arange(NUM_TOKENS)
    scores[:, (distances < 0) | (distances >= (window or NUM_TOKENS))] = float("-inf")
    expected = torch.einsum("hqk,khd->qhd", scores.softmax(-1), values).flatten(1)
    torch.testing.assert_close(_attended(window, 130).double(), expected, rtol=1e-5, atol=1e-6)
