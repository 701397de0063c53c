"""Loads the model of a checkpoint into memory: on our own decoder, or on transformers' own module."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.load_share import PackedShare
from penstock_worker.engine.memory import free_bytes
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.arithmetic import choose_arithmetic
from penstock_worker.models.decoder import Decoder
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.foreign_config import ForeignConfig
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.memory_check import Setting, check_memory
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.packing import choose_quantization, numerics, pack, precision
from penstock_worker.models.placement import choose_device, choose_dtype
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint
from penstock_worker.models.shard import WHOLE, Shard
from penstock_worker.models.shard_layout import shard_config, shard_layout
from penstock_worker.models.shard_memory import Precision
from penstock_worker.models.tensor_check import check_tensors
from penstock_worker.models.tensor_group import ALONE, TensorGroup
from penstock_worker.models.weight_files import check_one_set_of_weights
from penstock_worker.models.weight_reader import WeightReader


def load_own(
    checkpoint: Checkpoint,
    model_config: DecoderConfig,
    config: EngineConfig,
    shard: Shard = WHOLE,
    group: TensorGroup = ALONE,
    *,
    tell_share: Callable[[float], None] = lambda _: None,
    num_sharing: int = 1,
) -> RunnableModel:
    """A model of one of the families, on our own decoder, or what a shard holds of it.

    Args:
        checkpoint: its weights; of them only the shard's are read.
        model_config: of the whole model.
        config: how it runs; for all shards the same.
        shard: what is loaded.
        group: of the shard's stage; its members load at the same time.
        num_sharing: how many processes that load at this time, this one among them, share the memory of a host.
        tell_share: gets the share that has been read, from 0 to 1.

    Returns:
        The model. Its shape is the shard's, but for the vocabulary; its `num_parameters` are the whole model's.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported, or there are too many shards for the model.
    """
    device = choose_device(config.device)
    stored_format = model_config.stored_format
    quantization = choose_quantization(config.quantize, device, stored_format)
    source = checkpoint if stored_format is None else RoundedCheckpoint(checkpoint, stored_format)
    dtype = choose_dtype(config.dtype, source.stored_dtypes(), device)
    num_parameters = check_tensors(source, model_config)
    _check_memory(model_config, config, shard, precision(dtype, device), num_sharing)
    arithmetic = choose_arithmetic(partial(pack, quantization=quantization), device, is_fixed=config.deterministic)
    share = PackedShare(arithmetic.pack, num_parameters / (shard.tp_size * shard.num_stages), tell_share)
    weights = WeightReader(
        source,
        model_config,
        dtype=dtype,
        device=device,
        pack=share.pack,
        activations=arithmetic.activations,
        shard=shard,
        group=group,
    ).read()
    own_config = shard_config(model_config, shard_layout(model_config, shard))
    return RunnableModel(
        model=Decoder(own_config, weights, arithmetic.rotate, group),
        shape=own_config,
        attention=own_config.attention,
        dtype=weights.dtype,
        device=weights.device,
        num_parameters=num_parameters,
        num_bytes=weights.num_bytes,
        quantization=numerics(quantization, stored_format),
        adapters=AdapterBank(model_config, weights, arithmetic.make_kernel, shard),
    )


def _check_memory(
    model_config: DecoderConfig, config: EngineConfig, shard: Shard, numbers: Precision, num_sharing: int
) -> None:
    """Whether a shard's weights fit into its part of what is free."""
    if isinstance(config.quantize, str):
        setting = Setting(shard.tp_size, shard.num_stages, config.quantize)
        available_bytes = free_bytes(choose_device(config.device), num_sharing=num_sharing)
        check_memory(model_config, setting, numbers, available_bytes=available_bytes)


def load_foreign(
    model_dir: Path,
    checkpoint: Checkpoint,
    architecture: str,
    model_config: ForeignConfig,
    config: EngineConfig,
) -> RunnableModel:
    """Another model, on transformers' own module, which is imported only then; in one piece, see `check_split`."""
    try:
        from penstock_worker.engine.foreign_model import load_foreign_model  # noqa: PLC0415 it takes seconds and memory
    except ModuleNotFoundError as error:
        allowed = f"a family of docs/models.md; for others install penstock[transformers] ({error})"
        raise InvalidArgumentError("config.json architectures", architecture, allowed) from None
    if config.quantize != "none":
        raise InvalidArgumentError("quantize", config.quantize, f"none for {architecture}, which transformers runs")
    if config.deterministic:
        raise InvalidArgumentError("deterministic", "true", f"false for {architecture}, which transformers runs")
    check_one_set_of_weights(model_dir)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, checkpoint.stored_dtypes(), device)
    return load_foreign_model(model_dir, architecture, model_config, dtype=dtype, device=device)
