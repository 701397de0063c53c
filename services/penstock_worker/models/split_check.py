"""Into how many shards a model can be cut. Needs no torch: the fleet asks before any replica runs."""

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.foreign_config import ForeignConfig


def check_split(config: DecoderConfig | ForeignConfig, *, tensor_parallel: int, pipeline_parallel: int) -> None:
    """Whether every shard would have something of everything.

    Raises:
        InvalidArgumentError: names how many parts there can be.
    """
    if isinstance(config, ForeignConfig):
        _check_in_one_piece(tensor_parallel, pipeline_parallel)
        return
    widths = {"query heads": config.num_heads, "numbers in an MLP": config.intermediate_size}
    if config.experts is not None:
        widths["numbers in an expert"] = config.experts.intermediate_size
        if config.experts.shared_intermediate_size is not None:
            widths["numbers in the shared expert"] = config.experts.shared_intermediate_size
    narrowest = min(widths, key=lambda name: widths[name])
    most = widths[narrowest]
    if not 1 <= tensor_parallel <= most:
        raise InvalidArgumentError("tensor_parallel", tensor_parallel, f"1 to {most}: the model has {most} {narrowest}")
    if not 1 <= pipeline_parallel <= config.num_layers:
        allowed = f"1 to {config.num_layers}, the number of the model's layers"
        raise InvalidArgumentError("pipeline_parallel", pipeline_parallel, allowed)


def _check_in_one_piece(tensor_parallel: int, pipeline_parallel: int) -> None:
    """Transformers' own modules are not cut."""
    for field, value in (("tensor_parallel", tensor_parallel), ("pipeline_parallel", pipeline_parallel)):
        if value != 1:
            raise InvalidArgumentError(field, value, "1 for a model of no family of docs/models.md")
