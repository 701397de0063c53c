"""Chooses the kernel of each projection, by device, dtype and quantization."""

from functools import partial

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models import onednn_linear
from penstock_worker.models.decoder_weights import DecoderWeights
from penstock_worker.models.int4_linear import int4_kernel
from penstock_worker.models.int8_linear import activation_bits, int8_kernel
from penstock_worker.models.linear import KernelMaker, Linear
from penstock_worker.models.onednn_linear import OneDnnKernel
from penstock_worker.models.quantization import OUTPUT_PROJECTION, QUANTIZATIONS, Quantization

# They choose among experts: rounding them costs much and saves nothing.
_NEVER_ROUNDED = frozenset({"router", "shared_gate"})


def choose_quantization(setting: str, device: torch.device) -> Quantization | None:
    """The quantization of that name; None for "none".

    Raises:
        InvalidArgumentError: an unknown name, or the device has no kernel for it.
    """
    if setting not in QUANTIZATIONS:
        raise InvalidArgumentError("quantize", setting, ", ".join(QUANTIZATIONS))
    if QUANTIZATIONS[setting] is not None and not onednn_linear.has_onednn(device):
        raise InvalidArgumentError("quantize", setting, f"none on {device}: kernels for quantized weights are for CPUs")
    return QUANTIZATIONS[setting]


def pack(weights: DecoderWeights, quantization: Quantization | None) -> None:
    """Gives every projection the kernel that suits it, one after another, so that little is held twice."""
    for layer in weights.layers:
        for name, projection in layer.projections().items():
            _pack(projection, name, quantization)
    _pack(weights.output_projection, OUTPUT_PROJECTION, quantization)


def numerics(quantization: Quantization | None) -> str:
    """What of the quantization decides the bits of a result, for the numerics fingerprint; empty without one."""
    if quantization is None:
        return ""
    if quantization.bits == 8:  # noqa: PLR2004 the name says it
        return f"w8a{activation_bits()}"
    return f"w4g{quantization.group_size}+w8a{activation_bits()}"


def _pack(projection: Linear, name: str, quantization: Quantization | None) -> None:
    kind = name.rpartition(".")[2]
    make = _kernel_maker(projection.weight, kind, None if kind in _NEVER_ROUNDED else quantization)
    if make is not None:
        projection.pack(make)


def _kernel_maker(weight: torch.Tensor, kind: str, quantization: Quantization | None) -> KernelMaker | None:
    """None leaves the weights plain."""
    if quantization is None:
        return OneDnnKernel if onednn_linear.is_supported(weight.dtype, weight.device) else None
    # Where no whole number of groups makes up the input, 8 bits are the next best.
    if quantization.bits_of(kind) == 4 and weight.shape[1] % quantization.group_size == 0:  # noqa: PLR2004
        return partial(int4_kernel, group_size=quantization.group_size)
    return int8_kernel
