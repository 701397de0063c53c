"""Sizes the KV cache of a loaded model, or of a part of one, and makes what runs steps on it."""

import torch

from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.fixed_attention import FixedAttention
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.memory import KvPlan, activation_bytes, available_kv_bytes, plan_kv_cache
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.shard import Shard


def plan_cache(
    model: RunnableModel,
    config: EngineConfig,
    shard: Shard,
    draft: RunnableModel | None = None,
    *,
    num_sharing: int = 1,
) -> KvPlan:
    """Sizes the KV cache.

    Args:
        model: in memory.
        config: what the operator set.
        shard: which part of the model it is. What the operator set for the cache is for all parts together.
        draft: a model that drafts for it.
        num_sharing: how many processes of the replica, each with a part, take of this host's memory.

    Raises:
        InvalidArgumentError: not even two blocks fit.
    """
    reserved_bytes = activation_bytes(
        model.shape, max_step_tokens=config.max_step_tokens, max_running_sequences=config.max_running_sequences
    )
    limit_bytes = config.kv_memory_bytes
    return plan_kv_cache(
        model.shape,
        dtype=model.dtype,
        block_size=config.block_size,
        max_running_sequences=config.max_running_sequences,
        limit_bytes=None if limit_bytes is None else limit_bytes // shard.num_shards,
        available_bytes=available_kv_bytes(model.device, reserved_bytes, num_sharing=num_sharing),
        draft=None if draft is None else draft.shape,
    )


def build_runner(model: RunnableModel, num_blocks: int, config: EngineConfig) -> ModelRunner:
    """Makes the KV cache, with one block more for padding, and what runs steps on it."""
    shape = model.shape
    size = (shape.num_layers, num_blocks + 1, config.block_size, 2 * shape.num_kv_heads, shape.head_dim)
    cache = KvCache(torch.empty(size, dtype=model.dtype, device=model.device))
    step_attention = FixedAttention if config.deterministic else StepAttention
    return ModelRunner(model.model, cache, model.attention, model.adapters, step_attention)
