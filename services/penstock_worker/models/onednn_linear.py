"""Projections on a CPU through oneDNN, with weights in the blocked layout that its products read."""

import torch

from penstock_worker.models.placement import has_cpu_bfloat16

# The layout is chosen for products of about this many rows. Layouts for one row are slower from two rows on, and give a
# row other bits alone than among others.
_ROWS_HINT = 16


class OneDnnKernel:
    """Weights reordered once, at load, instead of in every product.

    A row's result has the same bits whatever rows are beside it; measured with AVX2 in float32.

    A CPU that does not multiply bfloat16 multiplies the same numbers in float32. That takes twice the memory and, from
    some rows on, a fifth of the time of emulation.

    Args:
        weight: float32 or bfloat16 [out, in], on CPU.
        bias: [out], or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        dtype = packed_dtype(weight.dtype)
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        self.num_bytes = weight.nbytes + (0 if bias is None else bias.nbytes)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)  # noqa: SLF001
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        projected: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            x.to(self._dtype), self._weight, self._bias, "none", [], ""
        )
        return projected.to(x.dtype)


def packed_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that weights of `dtype` are multiplied in."""
    return torch.float32 if dtype == torch.bfloat16 and not has_cpu_bfloat16() else dtype


def has_onednn(device: torch.device) -> bool:
    """Whether oneDNN computes on the device."""
    return device.type == "cpu" and torch._C._has_mkldnn  # noqa: SLF001


def is_supported(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN packs weights of `dtype` here."""
    return has_onednn(device) and dtype in (torch.float32, torch.bfloat16)
