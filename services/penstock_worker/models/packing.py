"""Chooses the kernel of each projection, by device, dtype and quantization."""

from functools import partial

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models import onednn_linear
from penstock_worker.models.fixed_rows import FixedRowsKernel
from penstock_worker.models.int4_linear import GROUP_SIZES, int4_kernel, int4_kernel_on
from penstock_worker.models.int8_linear import Int8Kernel, activation_bits, int8_kernel, int8_kernel_on
from penstock_worker.models.linear import KernelMaker, Linear, LinearKernel
from penstock_worker.models.onednn_linear import OneDnnKernel
from penstock_worker.models.quantization import QUANTIZATIONS, Quantization
from penstock_worker.models.rounded_weight import Grid
from penstock_worker.models.shard_memory import Precision
from penstock_worker.models.stored_format import StoredFormat

# They choose among experts: rounding them costs much and saves nothing.
_NEVER_ROUNDED = frozenset({"router", "shared_gate"})

# oneDNN compiles each projection for each number of rows that it meets, 0.3 to 18 ms and about 0.6 MB each time, and
# keeps a thousand of them. So it meets these numbers only; filling up to the next one adds a twelfth on average.
_ROW_COUNTS = (
    *(1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64),
    *(80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512),
)


def choose_quantization(
    setting: str | Quantization, device: torch.device, stored_format: StoredFormat | None
) -> Quantization | None:
    """The quantization asked for, by its name or as it is; None for "none".

    Raises:
        InvalidArgumentError: an unknown name, the device has no kernel for it, or the checkpoint is quantized already.
    """
    if isinstance(setting, str) and setting not in QUANTIZATIONS:
        raise InvalidArgumentError("quantize", setting, ", ".join(QUANTIZATIONS))
    quantization = QUANTIZATIONS[setting] if isinstance(setting, str) else setting
    if quantization is not None and not onednn_linear.has_onednn(device):
        raise InvalidArgumentError("quantize", setting, f"none on {device}: kernels for quantized weights are for CPUs")
    if quantization is not None and stored_format is not None:
        raise InvalidArgumentError("quantize", setting, "none: the checkpoint's weights are quantized already")
    return quantization


def pack(name: str, projection: Linear, *, quantization: Quantization | None) -> None:
    """Gives the projection of this name, e.g. "qkv" or "experts.3.down", the kernel that suits it."""
    kind = name.rpartition(".")[2]
    make = _kernel_maker(projection, kind, None if kind in _NEVER_ROUNDED else quantization)
    if make is not None:
        projection.pack(make)
        projection.wrap(_with_few_row_counts)


def precision(dtype: torch.dtype, device: torch.device) -> Precision:
    """In what numbers lie in memory that are not rounded, as `pack` leaves them."""
    is_packed = onednn_linear.is_supported(dtype, device)
    return Precision(
        number_bytes=dtype.itemsize,
        projection_bytes=onednn_linear.packed_dtype(dtype).itemsize if is_packed else dtype.itemsize,
        has_packed_head=is_packed,
    )


def numerics(quantization: Quantization | None, stored_format: StoredFormat | None) -> str:
    """What of the quantization decides the bits of a result, for the numerics fingerprint; empty without one."""
    if stored_format is not None:
        group = "" if stored_format.group_size is None else f"g{stored_format.group_size}"
        activations = f"a{activation_bits()}" if stored_format.has_rounded_activations else ""
        return f"w{stored_format.bits}{group}{activations}"
    if quantization is None:
        return ""
    if quantization.bits == 8:  # noqa: PLR2004 the name says it
        return f"w8a{activation_bits()}"
    four_bit = f"w4g{quantization.group_size}"
    return f"{four_bit}+w8a{activation_bits()}" if quantization.eight_bit else four_bit


def _with_few_row_counts(kernel: LinearKernel) -> LinearKernel:
    return FixedRowsKernel(kernel, _ROW_COUNTS) if isinstance(kernel, OneDnnKernel | Int8Kernel) else kernel


def _kernel_maker(projection: Linear, kind: str, quantization: Quantization | None) -> KernelMaker | None:
    """None leaves the weights plain. Shards choose as one process that had all inputs would."""
    weight = projection.weight
    if quantization is None:
        if not onednn_linear.is_supported(weight.dtype, weight.device):
            return None
        return OneDnnKernel if projection.grid is None else _kernel_maker_on(projection.grid, projection)
    # Where no whole number of groups makes up the input, 8 bits are the next best.
    group_size = quantization.group_size
    if quantization.bits_of(kind) == 4 and projection.inputs.grain % group_size == 0:  # noqa: PLR2004
        return partial(int4_kernel, group_size=group_size)
    return partial(int8_kernel, group=projection.group)


def _kernel_maker_on(grid: Grid, projection: Linear) -> KernelMaker:
    """Integers stay integers where there is a kernel for their grid."""
    if grid.bits == 8 and grid.has_rounded_activations and grid.is_per_output and not grid.has_own_zeros:  # noqa: PLR2004
        return partial(int8_kernel_on, grid, group=projection.group)
    if grid.bits == 4 and projection.weight.shape[1] // grid.scales.shape[1] in GROUP_SIZES:  # noqa: PLR2004
        return partial(int4_kernel_on, grid)
    return OneDnnKernel
