"""Projections with weights in 4-bit integers, in groups along the input; activations stay as they are."""

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_worker.models.rounded_weight import Grid

GROUP_SIZES = (32, 64, 128, 256)
_MAX_CODE = 15
_MID_CODE = 8
_ROWS_MULTIPLE = 16
_SMALLEST_SCALE = 1e-8


class Int4Kernel:
    """torch's weight-only product, which reads and writes bfloat16.

    Args:
        codes: int32 [out, in], from 0 to 15; weight = (code - 8) * scale + offset.
        scales: float32 [out, in / group_size].
        offsets: float32 [out, in / group_size].
        bias: [out], or None.
    """

    def __init__(
        self, codes: torch.Tensor, scales: torch.Tensor, offsets: torch.Tensor, bias: torch.Tensor | None
    ) -> None:
        self._num_outputs, num_inputs = codes.shape
        self._group_size = num_inputs // scales.shape[1]
        padding = -self._num_outputs % _ROWS_MULTIPLE
        scales_and_offsets = torch.stack([scales.t(), offsets.t()], dim=2).bfloat16()
        self._scales_and_offsets = F.pad(scales_and_offsets, (0, 0, 0, padding)).contiguous()
        self._codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(F.pad(codes, (0, 0, 0, padding)), 1)  # noqa: SLF001
        self._bias = bias
        held = (self._codes, self._scales_and_offsets, *(() if bias is None else (bias,)))
        self.num_bytes = sum(tensor.nbytes for tensor in held)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        projected: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(  # noqa: SLF001
            x.bfloat16(), self._codes, self._group_size, self._scales_and_offsets
        )
        projected = projected[:, : self._num_outputs].to(x.dtype)
        return projected if self._bias is None else projected + self._bias


def int4_kernel(weight: torch.Tensor, bias: torch.Tensor | None, *, group_size: int) -> Int4Kernel:
    """Rounds each group of `weight`, [out, in], to 16 levels between its smallest and its greatest number."""
    groups = weight.float().view(weight.shape[0], -1, group_size)
    lows, highs = groups.aminmax(dim=2)
    # As the kernel will read them.
    scales = (highs - lows).div_(_MAX_CODE).clamp_(min=_SMALLEST_SCALE).bfloat16().float()
    offsets = (lows + _MID_CODE * scales).bfloat16().float()
    codes = (groups - offsets.unsqueeze(2)).div_(scales.unsqueeze(2)).round_().add_(_MID_CODE).clamp_(0, _MAX_CODE)
    return Int4Kernel(codes.flatten(1).int(), scales, offsets, bias)


def int4_kernel_on(grid: Grid, weight: torch.Tensor, bias: torch.Tensor | None) -> Int4Kernel:
    """The integers that `weight`, [out, in], was stored as; scales and offsets are rounded to bfloat16."""
    return Int4Kernel(grid.codes(weight), grid.scales, (_MID_CODE - grid.zeros) * grid.scales, bias)
