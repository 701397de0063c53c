"""The KV cache is as large as it can be and no larger than it is of use."""

import pytest
import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.memory import KvPlan, available_kv_bytes, plan_kv_cache, shown_bytes
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.decoder_config import DecoderConfig, NormConfig
from penstock_worker.models.rope_config import RopeConfig

CONFIG = DecoderConfig(
    vocab_size=100,
    hidden_size=64,
    intermediate_size=96,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    norm=NormConfig(eps=1e-6),
    attention=AttentionConfig(windows=(None,) * 3, scale=0.25),
    ropes=(RopeConfig(1e4),) * 3,
    context_length=100,
    has_tied_embeddings=True,
)
BLOCK_BYTES = 16 * 3 * 2 * 2 * 16 * 4
"""Tokens, layers, keys and values, heads, head_dim, bytes of a float32."""


def _plan(*, limit_bytes: int | None = None, available_bytes: int = 0) -> KvPlan:
    return plan_kv_cache(
        CONFIG,
        dtype=torch.float32,
        block_size=16,
        max_running_sequences=4,
        limit_bytes=limit_bytes,
        available_bytes=available_bytes,
    )


def test_small_model_gets_what_it_can_use() -> None:
    """Four contexts of 100 tokens are four times seven blocks of 16; more would lie idle."""
    plan = _plan(available_bytes=10**12)
    assert (plan.num_blocks, plan.context_length, plan.block_bytes) == (28, 100, BLOCK_BYTES)
    assert plan.reason == "room for 4 full contexts"


def test_limit_includes_the_padding_block() -> None:
    """What the operator set is the size of the tensor, not of the part that holds tokens."""
    plan = _plan(limit_bytes=10 * BLOCK_BYTES, available_bytes=1)
    assert (plan.num_blocks, plan.num_bytes, plan.num_tokens) == (9, 10 * BLOCK_BYTES, 144)
    assert plan.reason == "the configured limit"


def test_little_memory_shortens_the_context() -> None:
    """A sequence of the stated context length always fits, so that it can run to its end alone."""
    plan = _plan(available_bytes=5 * BLOCK_BYTES + 3)
    assert (plan.num_blocks, plan.context_length, plan.reason) == (4, 64, "what is available")


def test_too_little_memory_is_refused() -> None:
    """One clear error at the start, and how much it takes."""
    with pytest.raises(InvalidArgumentError, match=f"kv_memory_bytes.*at least {2 * BLOCK_BYTES}"):
        _plan(limit_bytes=2 * BLOCK_BYTES - 1)


def test_cpu_share_leaves_most_of_the_memory() -> None:
    """Two replicas on one machine, each with its weights, must fit."""
    total_bytes = 2**50
    assert 2**20 < available_kv_bytes(torch.device("cpu"), activation_bytes=0) < total_bytes


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_are_readable(num_bytes: int, text: str) -> None:
    """The plan is read by people."""
    assert shown_bytes(num_bytes) == text
