"""Sizes the KV cache from the memory there is, and says so in words."""

from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.model_shape import ModelShape

# The rest is for activations, for other replicas on this machine and for whatever else runs on it.
_CPU_SHARE = 0.3
# A device is the replica's own, but torch's allocator and the kernels' workspaces want some of it.
_CUDA_SHARE = 0.9

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class KvPlan:
    """The size of a KV cache.

    Attributes:
        block_size: tokens of a block.
        block_bytes: bytes of a block, all layers together.
        num_blocks: blocks that hold tokens; one more is the padding.
        context_length: most tokens of one sequence: the model's, unless the cache holds fewer.
        reason: what the size follows from.
    """

    block_size: int
    block_bytes: int
    num_blocks: int
    context_length: int
    reason: str

    @property
    def num_tokens(self) -> int:
        """Tokens that the cache holds."""
        return self.num_blocks * self.block_size

    @property
    def num_bytes(self) -> int:
        """Bytes of the cache, the padding block included."""
        return (self.num_blocks + 1) * self.block_bytes

    def limited(self, num_blocks: int) -> "KvPlan":
        """The plan with no more blocks than that, which is what another process has room for."""
        if num_blocks >= self.num_blocks:
            return self
        context_length = min(self.context_length, num_blocks * self.block_size)
        return replace(
            self, num_blocks=num_blocks, context_length=context_length, reason="what the fullest shard has left"
        )


def plan_kv_cache(
    config: ModelShape,
    *,
    dtype: torch.dtype,
    block_size: int,
    max_running_sequences: int,
    limit_bytes: int | None,
    available_bytes: int,
    draft: ModelShape | None = None,
) -> KvPlan:
    """Sizes the cache: what is asked for, else what is available, but never more than can be used.

    Args:
        config: of the model.
        dtype: of keys and values.
        block_size: tokens of a block.
        max_running_sequences: with a full context each, they use all the cache that can be used.
        limit_bytes: what the operator asked for, or None.
        available_bytes: what may be taken otherwise.
        draft: a second model, which keeps as many tokens.

    Raises:
        InvalidArgumentError: not even two blocks fit.
    """
    models = [config] if draft is None else [config, draft]
    block_bytes = block_size * sum(_bytes_per_token(model, dtype) for model in models)
    num_useful = max_running_sequences * -(-config.context_length // block_size)
    num_fitting = (available_bytes if limit_bytes is None else limit_bytes) // block_bytes - 1
    if num_fitting < 1:
        value = available_bytes if limit_bytes is None else limit_bytes
        raise InvalidArgumentError("kv_memory_bytes", value, f"at least {2 * block_bytes}, two blocks")
    if num_fitting >= num_useful:
        reason = f"room for {max_running_sequences} full contexts"
    else:
        reason = "what is available" if limit_bytes is None else "the configured limit"
    num_blocks = min(num_fitting, num_useful)
    context_length = min(config.context_length, num_blocks * block_size)
    return KvPlan(block_size, block_bytes, num_blocks, context_length, reason)


def available_kv_bytes(device: torch.device, activation_bytes: int, *, num_sharing: int = 1) -> int:
    """What the KV cache may take of the device's free memory, the weights being loaded.

    Args:
        device: holds the cache.
        activation_bytes: kept free on a CUDA device for a step's own tensors.
        num_sharing: see `free_bytes`.
    """
    if device.type == "cuda":
        return max(int(free_bytes(device) * _CUDA_SHARE) - activation_bytes, 0)
    return int(free_bytes(device, num_sharing=num_sharing) * _CPU_SHARE)


def free_bytes(device: torch.device, *, num_sharing: int = 1) -> int:
    """Memory of a device that nothing uses; on a CPU the part of one of `num_sharing` processes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return min(psutil.virtual_memory().available, _cgroup_free_bytes()) // num_sharing


def activation_bytes(config: ModelShape, *, max_step_tokens: int, max_running_sequences: int) -> int:
    """An upper estimate of a step's own tensors: a layer's activations and some copies of the logits, in float32."""
    widths = 4 * config.hidden_size + 2 * config.qkv_size + 4 * config.mlp_width
    return 4 * (max_step_tokens * widths + 6 * max_running_sequences * config.vocab_size)


def shown_bytes(num_bytes: float) -> str:
    """A size in binary units with one decimal, e.g. "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:  # noqa: PLR2004 the definition of the units
            return f"{num_bytes:.1f} {unit}" if unit != "B" else f"{num_bytes:.0f} B"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"


def _bytes_per_token(config: ModelShape, dtype: torch.dtype) -> int:
    return config.num_layers * 2 * config.num_kv_heads * config.head_dim * dtype.itemsize


def _cgroup_free_bytes() -> int:
    """What a container's memory limit leaves (cgroup v2); a very large number without a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = (_CGROUP / "memory.current").read_text().strip()
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return 2**62
