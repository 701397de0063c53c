"""Projections whose kernels are called with few numbers of rows only, and with that the bits of a row.

A library chooses its code by the number of rows. So for bits that depend on a row alone, a kernel is called with
certain numbers of rows, filled up with zeros, and at load each of them is seen to give every row in every place the
bits that it has alone.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.models.linear import KernelMaker, Linear, LinearKernel
from penstock_worker.models.tensor_group import ALONE, TensorGroup

RowCounts = tuple[int, ...]
Size = tuple[int, int]
"""Inputs and outputs of a projection."""

# Filling up to the next one adds a third at most, but for few rows, where the weights are what takes the time.
_MANY_COUNTS: RowCounts = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# For kernels whose bits depend on the count.
_ONE_COUNT: RowCounts = (16,)
_NUM_TRIED_ROWS = 13


@dataclass(frozen=True, slots=True)
class FixedRowsKernel:
    """Calls another kernel with certain numbers of rows only.

    Attributes:
        kernel: computes.
        counts: the numbers of rows, ascending.
    """

    kernel: LinearKernel
    counts: RowCounts

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        return self.kernel.num_bytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        parts = [self._filled_up(part) for part in torch.split(x, self.counts[-1])]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _filled_up(self, x: torch.Tensor) -> torch.Tensor:
        num_rows = len(x)
        count = self.counts[bisect_left(self.counts, num_rows)]
        if count == num_rows:
            return self.kernel(x)
        return self.kernel(F.pad(x, (0, 0, 0, count - num_rows)))[:num_rows]


class RowFixer:
    """Makes kernels' rows independent of each other. One for each model: what was tried for a shape is not tried again.

    Args:
        pack: gives each projection the kernel that suits it; see `WeightReader`.
    """

    def __init__(self, pack: Callable[[str, Linear], None]) -> None:
        self._pack = pack
        self._tried: dict[tuple[type[LinearKernel], Size, int], RowCounts] = {}

    def pack(self, name: str, projection: Linear) -> None:
        """Packs a projection, and fixes the rows of its kernel."""
        weight, inputs, group = projection.weight, projection.inputs, projection.group
        num_outputs, num_inputs = weight.shape
        sample = weight.new_empty(_NUM_TRIED_ROWS, num_inputs)
        self._pack(name, projection)
        projection.wrap(lambda kernel: self._fixed(kernel, sample, (inputs.size, num_outputs), group))

    def maker(self, make: KernelMaker) -> KernelMaker:
        """Makes kernels as `make` does, with fixed rows."""

        def make_fixed(weight: torch.Tensor, bias: torch.Tensor | None) -> LinearKernel:
            sample, size = weight.new_empty(_NUM_TRIED_ROWS, weight.shape[1]), (weight.shape[1], len(weight))
            return self._fixed(make(weight, bias), sample, size, ALONE)

        return make_fixed

    def _fixed(self, kernel: LinearKernel, sample: torch.Tensor, size: Size, group: TensorGroup) -> LinearKernel:
        bare = kernel.kernel if isinstance(kernel, FixedRowsKernel) else kernel  # packed with counts chosen for speed
        return FixedRowsKernel(bare, self._counts(bare, sample, size, group))

    def _counts(self, kernel: LinearKernel, sample: torch.Tensor, size: Size, group: TensorGroup) -> RowCounts:
        """The numbers of rows that a kernel may be called with: for all shards that share its inputs the same.

        Args:
            kernel: of the projection.
            sample: has the shape and dtype of some rows.
            size: inputs, of all shards together, and outputs.
            group: those that share the inputs. They try the same at the same time.

        Raises:
            FailedPreconditionError: there are none.
        """
        key = (type(kernel), size, group.size)
        if key not in self._tried:
            rows = sample.normal_(generator=torch.Generator().manual_seed(size[1]))
            fitting = (counts for counts in (_MANY_COUNTS, _ONE_COUNT) if _has_fixed_rows(kernel, counts, rows, group))
            counts = next(fitting, None)
            if counts is None:
                raise FailedPreconditionError(
                    f"deterministic: a projection from {size[0]} to {size[1]} numbers in {type(kernel).__name__} "
                    "gives a row other bits in other places here"
                )
            self._tried[key] = counts
        return self._tried[key]


@torch.inference_mode()
def _has_fixed_rows(kernel: LinearKernel, counts: RowCounts, rows: torch.Tensor, group: TensorGroup) -> bool:
    """Whether each of `rows` has the bits, in every place of each count, that it has alone; on every shard."""
    fixed = FixedRowsKernel(kernel, counts)
    alone = torch.cat([fixed(row) for row in torch.split(rows, 1)])
    num_wrong = torch.zeros(1)
    for count in counts:  # never fewer of them, for the others wait
        places = torch.arange(count) % len(rows)
        num_wrong += not torch.equal(kernel(rows[places]), alone[places])
    return not group.all_reduce(num_wrong).any()
