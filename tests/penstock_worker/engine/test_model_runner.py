"""The runner's logits are those of transformers, however the tokens are cut into chunks and laid out in blocks."""

import random
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import FAMILIES, VOCAB_SIZE
from near_tie import ReferenceModel

from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.decoder import Decoder
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.packing import pack
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.weight_reader import WeightReader

BLOCK_SIZE = 8
NUM_BLOCKS = 80
LENGTHS = [1, 5, 16, 33, 70]


def _runner(model_dir: Path, *, is_packed: bool = False) -> ModelRunner:
    _, config = read_model_config(model_dir)
    checkpoint, pack_each = Checkpoint(model_dir), partial(pack, quantization=None) if is_packed else None
    reader = WeightReader(checkpoint, config, dtype=torch.float32, device=torch.device("cpu"), pack=pack_each)
    weights = reader.read()
    shape = (config.num_layers, NUM_BLOCKS + 1, BLOCK_SIZE, 2 * config.num_kv_heads, config.head_dim)
    cache = KvCache(torch.full(shape, torch.nan))  # what is not written must not be read
    return ModelRunner(Decoder(config, weights), cache, config.attention, AdapterBank(config, weights))


def _plans(sequences: list[list[int]], *, max_chunk_tokens: int, generator: random.Random) -> list[StepPlan]:
    """Computes the sequences side by side in chunks of random sizes, on blocks that lie scattered."""
    block_ids = list(range(NUM_BLOCKS))
    generator.shuffle(block_ids)
    tables = [[block_ids.pop() for _ in range(0, len(tokens), BLOCK_SIZE)] for tokens in sequences]
    starts, plans, fresh = [0] * len(sequences), [], [block_id for table in tables for block_id in table]
    while any(start < len(tokens) for start, tokens in zip(starts, sequences, strict=True)):
        chunks = []
        for key, (tokens, table) in enumerate(zip(sequences, tables, strict=True)):
            end = min(starts[key] + generator.randint(1, max_chunk_tokens), len(tokens))
            if end > starts[key]:
                token_ids = array("q", tokens[starts[key] : end])
                num_rows = generator.randint(0, len(token_ids))
                chunks.append(Chunk(key, token_ids, starts[key], array("q", table), num_rows))
                starts[key] = end
        plans.append(StepPlan(chunks, fresh if not plans else []))
    return plans


def _positions_with_logits(chunk: Chunk) -> slice:
    end = chunk.start + len(chunk.token_ids)
    return slice(end - chunk.num_logits_rows, end)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("max_chunk_tokens", "is_packed"), [(1, True), (7, False), (7, True), (100, True)])
def test_logits_equal_transformers(
    family: str,
    max_chunk_tokens: int,
    is_packed: bool,
    checkpoint: Callable[[str], Path],
    reference: Callable[[str], ReferenceModel],
) -> None:
    """Logits within 1e-4 of any number of a chunk's last tokens: token by token, in small chunks, in one go."""
    generator = random.Random(max_chunk_tokens)
    sequences = [[generator.randrange(VOCAB_SIZE) for _ in range(length)] for length in LENGTHS]
    expected = [reference(family).logits(tokens) for tokens in sequences]
    assert max(logits.abs().max() for logits in expected) > 2.0
    runner = _runner(checkpoint(family), is_packed=is_packed)
    for plan in _plans(sequences, max_chunk_tokens=max_chunk_tokens, generator=generator):
        values = runner.run(plan).values
        wanted = [expected[chunk.key][_positions_with_logits(chunk)] for chunk in plan.chunks]
        torch.testing.assert_close(values, torch.cat(wanted), atol=1e-4, rtol=0.0)


def test_only_wanted_rows_have_logits(checkpoint: Callable[[str], Path]) -> None:
    """The output projection is the largest product of a small batch; a prefill's inner chunks do without."""
    runner = _runner(checkpoint("llama"))
    chunks = [
        Chunk(0, array("q", [1, 2, 3]), 0, array("q", [4]), 0),
        Chunk(1, array("q", [5]), 0, array("q", [2]), 1),
    ]
    both = [chunk._replace(num_logits_rows=1) for chunk in chunks]
    assert runner.run(StepPlan(chunks[:1], [4])).values.shape == (0, VOCAB_SIZE)
    some, all_rows = (runner.run(StepPlan(plan, [2, 4])).values for plan in (chunks, both))
    torch.testing.assert_close(some, all_rows[1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_near_float32(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """In bfloat16 most logits are within 1e-2 of float32, or where transformers' own are not, no further than those."""
    tokens = [(7 * index) % VOCAB_SIZE for index in range(60)]
    expected = reference(family).logits(tokens)
    values = _bfloat16_logits(checkpoint(family), tokens)
    theirs = ReferenceModel(checkpoint(family), torch.bfloat16).logits(tokens)
    assert values.dtype == torch.float32
    assert 1e-5 < _median_error(values, expected) <= max(1e-2, 1.1 * _median_error(theirs, expected))


def _median_error(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative to the length of a row; the median, since a router's near-tie may send a token to another expert."""
    return float(((logits - expected).norm(dim=-1) / expected.norm(dim=-1)).median())


def _bfloat16_logits(model_dir: Path, tokens: list[int]) -> torch.Tensor:
    """Logits after each of `tokens`."""
    _, config = read_model_config(model_dir)
    reader = WeightReader(Checkpoint(model_dir), config, dtype=torch.bfloat16, device=torch.device("cpu"))
    shape = (config.num_layers, 9, BLOCK_SIZE, 2 * config.num_kv_heads, config.head_dim)
    cache = KvCache(torch.empty(shape, dtype=torch.bfloat16))
    weights = reader.read()
    runner = ModelRunner(Decoder(config, weights), cache, config.attention, AdapterBank(config, weights))
    blocks = list(range(8))
    return runner.run(StepPlan([Chunk(0, array("q", tokens), 0, array("q", blocks), len(tokens))], blocks)).values
