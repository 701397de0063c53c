"""Refuses weights that do not fit, with the arithmetic and what would fit. Needs no torch: the fleet asks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.quantization import QUANTIZATIONS
from penstock_worker.models.shard import Shard
from penstock_worker.models.shard_memory import Precision, weight_bytes
from penstock_worker.models.split_check import check_split

RUNTIME_BYTES = 400 * 2**20
"""Of a process besides weights and KV cache; what is read and not yet packed is in it."""

_MAX_SHARDS_LOG2 = 6


class Setting(NamedTuple):
    """What an operator sets that decides how much memory a shard's weights take."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    quantize: str = "none"

    @property
    def shown(self) -> str:
        """As settings; what is not set is left out."""
        defaults = Setting()._asdict()
        return " ".join(f"{name}={value}" for name, value in self._asdict().items() if value != defaults[name])


def check_memory(
    config: DecoderConfig, setting: Setting, precision: Precision, *, available_bytes: int, kv_bytes: int = 0
) -> None:
    """Whether each shard's weights fit, before any is read. Of a checkpoint that stores rounded weights nobody knows.

    Args:
        config: of the whole model.
        setting: how it is to run.
        precision: of its numbers, but for what `setting` rounds.
        available_bytes: free for each shard.
        kv_bytes: of a shard's KV cache, where its size is set.

    Raises:
        InvalidArgumentError: they do not; says by how much, and with which settings they would.
    """
    if config.stored_format is not None:
        return
    held_bytes = largest_shard_bytes(config, setting, precision)
    needed_bytes = held_bytes + kv_bytes + RUNTIME_BYTES
    if needed_bytes <= available_bytes:
        return
    room_bytes = available_bytes - kv_bytes - RUNTIME_BYTES
    settings = fitting_settings(config, precision, room_bytes, _as_coarse(setting.quantize))
    fitting = "; ".join(each.shown for each in settings)
    parts = [f"{_gib(held_bytes)} of weights"] + ([f"{_gib(kv_bytes)} of KV cache"] if kv_bytes else [])
    allowed = (
        f"at least {_gib(needed_bytes)}: {', '.join(parts)} and {_gib(RUNTIME_BYTES)} for the process; "
        f"with this much for each shard would fit: {fitting or 'nothing'}"
    )
    raise InvalidArgumentError("memory of a shard", _gib(available_bytes), allowed)


def fitting_settings(
    config: DecoderConfig, precision: Precision, room_bytes: int, quantizes: Sequence[str]
) -> list[Setting]:
    """For each way to round the fewest shards that fit, where it needs fewer than the ways before it.

    Args:
        config: of the whole model.
        precision: of its numbers, but for what is rounded.
        room_bytes: for the weights of a shard.
        quantizes: the ways to round, from the finest.
    """
    found: list[Setting] = []
    for quantize in quantizes:
        settings = (Setting(*split, quantize) for split in _splits(config))
        fitting = (each for each in settings if largest_shard_bytes(config, each, precision) <= room_bytes)
        fewest = next(fitting, None)
        if fewest is not None and all(_num_shards(fewest) < _num_shards(each) for each in found):
            found.append(fewest)
    return found


def largest_shard_bytes(config: DecoderConfig, setting: Setting, precision: Precision) -> int:
    """Weights of the shard that has most of them.

    Raises:
        InvalidArgumentError: the model cannot be cut like that.
    """
    size, num_stages, quantize = setting
    rounded = replace(precision, quantization=QUANTIZATIONS[quantize])
    shards = (Shard(rank, size, stage, num_stages) for stage in range(num_stages) for rank in range(size))
    return max(weight_bytes(config, shard, rounded) for shard in shards)


def _splits(config: DecoderConfig) -> Iterator[tuple[int, int]]:
    """Numbers of ranks and stages that are possible, the fewest shards first, ranks before stages."""
    for log2 in range(_MAX_SHARDS_LOG2 + 1):
        for stages_log2 in range(log2 + 1):
            split = (1 << (log2 - stages_log2), 1 << stages_log2)
            try:
                check_split(config, tensor_parallel=split[0], pipeline_parallel=split[1])
            except InvalidArgumentError:
                continue
            yield split


def _as_coarse(quantize: str) -> list[str]:
    """This way to round, and coarser ones."""
    names = list(QUANTIZATIONS)
    return names[names.index(quantize) :]


def _num_shards(setting: Setting) -> int:
    return setting.tensor_parallel * setting.pipeline_parallel


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
