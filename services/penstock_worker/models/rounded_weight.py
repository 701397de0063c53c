"""A weight of integers as a checkpoint stores it, and the numbers that it stands for."""

from dataclasses import dataclass, replace

import torch

from penstock_worker.models.quantization import Bits


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers that the integers of a weight stand for: (code - zero) * scale.

    Attributes:
        bits: of a code; it is at least 0.
        scales: float32 [out, num_groups], each of as many neighbouring inputs.
        zeros: float32 [out, num_groups].
        has_rounded_activations: made to be multiplied with activations of 8 bits, a scale for each token.
        is_per_output: an output has one scale for all of its inputs, those that other shards have too.
    """

    bits: Bits
    scales: torch.Tensor
    zeros: torch.Tensor
    has_rounded_activations: bool
    is_per_output: bool

    def select(self, rows: torch.Tensor) -> "Grid":
        """The grid of some rows of the weight, in their order."""
        return replace(self, scales=self.scales.index_select(0, rows), zeros=self.zeros.index_select(0, rows))

    @property
    def has_own_zeros(self) -> bool:
        """Whether zero is not the middle of the codes everywhere."""
        return bool((self.zeros != 1 << (self.bits - 1)).any())

    def codes(self, weight: torch.Tensor) -> torch.Tensor:
        """The integers that stand for `weight`: int32 [out, in]."""
        groups = weight.float().view(*self.scales.shape, -1)
        return (groups / self.scales.unsqueeze(2) + self.zeros.unsqueeze(2)).round_().view(weight.shape).int()


def stacked(grids: "list[Grid | None]") -> Grid | None:
    """The grid of weights one below the other; None where they have no common one."""
    first = grids[0]
    found = [grid for grid in grids if grid is not None]
    if first is None or len(found) < len(grids):
        return None
    scales, zeros = torch.cat([grid.scales for grid in found]), torch.cat([grid.zeros for grid in found])
    return replace(first, scales=scales, zeros=zeros)


@dataclass(frozen=True, slots=True)
class RoundedWeight:
    """One weight.

    Attributes:
        codes: float32 [out, in].
        grid: what they stand for.
        groups: int64 [in], the group of each input; None where groups are neighbours.
    """

    codes: torch.Tensor
    grid: Grid
    groups: torch.Tensor | None

    def numbers(self) -> torch.Tensor:
        """float32 [out, in]."""
        if self.groups is None:
            num_repeats = self.codes.shape[1] // self.grid.scales.shape[1]
            zeros, scales = (part.repeat_interleave(num_repeats, 1) for part in (self.grid.zeros, self.grid.scales))
        else:
            zeros, scales = (part.index_select(1, self.groups) for part in (self.grid.zeros, self.grid.scales))
        return (self.codes - zeros).mul_(scales)


def unpacked(words: torch.Tensor, bits: Bits, length: int) -> torch.Tensor:
    """The first `length` integers of each row: from int32 [rows, words] to uint8 [rows, length], lowest bits first."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    codes = (words.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return codes.flatten(-2)[..., :length].to(torch.uint8)
