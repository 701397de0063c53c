"""What computes the parts of a decoder that come in two ways: fast, and with bits that depend on a row alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.fixed_activations import FIXED_ACTIVATIONS
from penstock_worker.models.fixed_rows import RowFixer
from penstock_worker.models.linear import KernelMaker, Linear, PlainKernel
from penstock_worker.models.mlp import ACTIVATIONS, Activation
from penstock_worker.models.onednn_linear import OneDnnKernel, has_onednn
from penstock_worker.models.rope import Rotate, rotate, rotate_fixed

Pack = Callable[[str, Linear], None]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a decoder computes.

    Attributes:
        pack: gives each projection its kernel.
        activations: by name.
        rotate: turns queries and keys by their positions.
        make_kernel: of projections that no checkpoint of the model holds, as an adapter's.
    """

    pack: Pack
    activations: Mapping[str, Activation]
    rotate: Rotate
    make_kernel: KernelMaker


def choose_arithmetic(pack: Pack, device: torch.device, *, is_fixed: bool) -> Arithmetic:
    """The way to compute; `is_fixed`: a row's bits depend on that row alone.

    Raises:
        InvalidArgumentError: there are no such kernels for the device.
    """
    if not is_fixed:
        return Arithmetic(pack, ACTIVATIONS, rotate, PlainKernel)
    if not has_onednn(device):
        raise InvalidArgumentError("deterministic", "true", f"false on {device}: it is measured for CPUs only")
    fixer = RowFixer(pack)
    return Arithmetic(fixer.pack, FIXED_ACTIVATIONS, rotate_fixed, fixer.maker(OneDnnKernel))
