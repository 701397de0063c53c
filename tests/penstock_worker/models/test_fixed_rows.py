"""A row keeps its bits among others, or the mode is refused."""

import math
from dataclasses import dataclass

import pytest
import torch

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.models.fixed_activations import FIXED_ACTIVATIONS
from penstock_worker.models.fixed_rows import FixedRowsKernel, RowFixer
from penstock_worker.models.linear import PlainKernel
from penstock_worker.models.mlp import ACTIVATIONS


@dataclass(frozen=True, slots=True)
class _Sum:
    """A kernel that adds up each row, and to that what its place or the number of rows is."""

    per_row: float = 0.0
    per_place: float = 0.0
    num_bytes: int = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True) + self.per_row * len(x) + self.per_place * torch.arange(len(x)).unsqueeze(1)


def _fixed(kernel: _Sum) -> FixedRowsKernel:
    made = RowFixer(lambda _name, _projection: None).maker(lambda _weight, _bias: kernel)(torch.zeros(1, 3), None)
    assert isinstance(made, FixedRowsKernel)
    return made


def test_kernel_with_fixed_rows_is_called_with_many_counts() -> None:
    """A single row need not pay for sixteen."""
    assert _fixed(_Sum()).counts[:3] == (1, 2, 4)


def test_kernel_that_depends_on_the_count_is_called_with_one() -> None:
    """As libraries do that have code of its own for a single row."""
    kernel = _fixed(_Sum(per_row=1.0))
    assert kernel(torch.ones(40, 3)).flatten().tolist() == [19.0] * 40
    assert kernel(torch.ones(1, 3)).tolist() == [[19.0]]


def test_kernel_that_depends_on_the_place_is_refused() -> None:
    """Rather than run under a name that it does not deserve."""
    with pytest.raises(FailedPreconditionError, match="from 3 to 1 numbers in _Sum gives a row other bits"):
        _fixed(_Sum(per_place=1.0))


def test_plain_product_keeps_its_rows_with_fixed_counts() -> None:
    """On its own it has other bits for one row than for several."""
    weight, x = torch.randn(96, 64), torch.randn(37, 64)
    kernel = RowFixer(lambda _name, _projection: None).maker(PlainKernel)(weight, None)
    assert torch.equal(kernel(x), torch.cat([kernel(row) for row in x.split(1)]))


@pytest.mark.parametrize("name", FIXED_ACTIVATIONS)
def test_fixed_activation_is_the_activation(name: str) -> None:
    """To a few units in the last place, for any number, and with the same bits in every place."""
    x = torch.cat([torch.randn(1000) * 5, torch.tensor([0.0, -0.0, 1e-30, -90.0, 90.0, math.inf])])
    fixed = FIXED_ACTIVATIONS[name]
    torch.testing.assert_close(fixed(x), ACTIVATIONS[name](x), rtol=1e-5, atol=1e-6)
    assert torch.equal(fixed(x[3:]), torch.cat([fixed(number) for number in x[3:].split(1)]))
