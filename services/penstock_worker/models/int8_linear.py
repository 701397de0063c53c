"""Projections in 8-bit integers: weights per output channel, activations per token.

The scale of a token's activations comes from that token alone, so nobody's result depends on a neighbour. The products
are sums of integers, which are exact in any order: a row has the same bits whatever rows are beside it.
"""

import torch

from penstock_worker.models.rounded_weight import Grid
from penstock_worker.models.tensor_group import ALONE, TensorGroup, greatest

_MAX_CODE = 127
_MID_CODE = 128
_SMALLEST_SCALE = 1e-30
_ROWS_AT_ONCE = 512  # of a weight, so that little of it is there in several forms at once


class Int8Kernel:
    """oneDNN's product of 8-bit activations and weights.

    Args:
        codes: int8 [out, in]; weight = code * scale.
        scales: float32 [out].
        bias: [out], or None.
        group: that shares the inputs. A token's scale comes from all of them, as if one process had them.
    """

    def __init__(
        self, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, group: TensorGroup = ALONE
    ) -> None:
        self.num_bytes = codes.nbytes + scales.nbytes + (0 if bias is None else bias.nbytes)
        self._codes = torch.ops.onednn.qlinear_prepack(codes, None)
        self._scales = scales
        self._zero_points = torch.zeros(codes.shape[0], dtype=torch.int8)
        self._bias = None if bias is None else bias.float()
        self._group = group
        self._zero_point = 1 << (activation_bits() - 1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        # Not `vector_norm` with infinity: on a CPU it takes ten times as long.
        row_scales = greatest(x.abs().amax(dim=1, keepdim=True), self._group)
        row_scales = row_scales.div_(self._zero_point - 1).clamp_(min=_SMALLEST_SCALE)
        codes = (x / row_scales).round_().add_(self._zero_point).to(torch.uint8)
        products = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, self._zero_point, self._codes, self._scales, self._zero_points,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        products = products.mul_(row_scales) if self._bias is None else torch.addcmul(self._bias, products, row_scales)
        return products.to(x.dtype)


def int8_kernel(weight: torch.Tensor, bias: torch.Tensor | None, group: TensorGroup = ALONE) -> Int8Kernel:
    """Rounds each row of `weight`, [out, in], to 255 even levels between plus and minus its greatest number.

    Where `group` shares the inputs, that of the whole row; all of its processes make the kernel at once.
    """
    lows, highs = weight.aminmax(dim=1)
    scales = greatest(torch.maximum(-lows, highs), group).div_(_MAX_CODE).clamp_(min=_SMALLEST_SCALE)
    codes = torch.empty(weight.shape, dtype=torch.int8)
    parts = (torch.split(tensor, _ROWS_AT_ONCE) for tensor in (weight, scales.unsqueeze(1), codes))
    for part, part_scales, part_codes in zip(*parts, strict=True):
        part_codes.copy_(part.float().div(part_scales).round_())
    return Int8Kernel(codes, scales, bias, group)


def int8_kernel_on(
    grid: Grid, weight: torch.Tensor, bias: torch.Tensor | None, group: TensorGroup = ALONE
) -> Int8Kernel:
    """The integers that `weight`, [out, in], was stored as; its grid has one scale for each output and no zeros."""
    return Int8Kernel((grid.codes(weight) - _MID_CODE).to(torch.int8), grid.scales[:, 0].contiguous(), bias, group)


def activation_bits() -> int:
    """Bits of an activation. Without the CPU's VNNI instructions, sums of two 8-bit products overflow 16 bits."""
    return 8 if torch.cpu._is_vnni_supported() else 7  # noqa: SLF001
