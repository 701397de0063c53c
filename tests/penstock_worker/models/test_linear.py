"""Every kernel of a projection computes the same projection, and a row's result knows nothing of the rows beside it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it
from torch.utils._python_dispatch import TorchDispatchMode

from penstock_worker.models.int4_linear import int4_kernel
from penstock_worker.models.int8_linear import Int8Kernel, activation_bits, int8_kernel
from penstock_worker.models.linear import KernelMaker, Linear, LinearKernel
from penstock_worker.models.onednn_linear import OneDnnKernel
from penstock_worker.models.packing import pack
from penstock_worker.models.placement import has_cpu_bfloat16
from penstock_worker.models.quantization import QUANTIZATIONS, Quantization

NUM_INPUTS, NUM_OUTPUTS = 256, 83

int4_small_groups = partial(int4_kernel, group_size=32)
int4_large_groups = partial(int4_kernel, group_size=128)

# Kernel, dtype, largest error of the product as a share of its greatest number, for weights and inputs like a model's.
KERNELS: list[tuple[str, KernelMaker, torch.dtype, float]] = [
    ("onednn", OneDnnKernel, torch.float32, 1e-6),
    ("onednn bf16", OneDnnKernel, torch.bfloat16, 1e-2),
    ("int8", int8_kernel, torch.float32, 3e-2),
    ("int8 bf16", int8_kernel, torch.bfloat16, 3e-2),
    ("int4 by 32", int4_small_groups, torch.float32, 0.1),
    ("int4 by 128", int4_large_groups, torch.float32, 0.15),
    ("int4 by 32 bf16", int4_small_groups, torch.bfloat16, 0.1),
]


@pytest.fixture(params=KERNELS, ids=[name for name, *_ in KERNELS])
def kernel_case(request: pytest.FixtureRequest) -> tuple[KernelMaker, torch.dtype, float]:
    """A kernel with the dtype that it is to run in."""
    _, make, dtype, largest_error = request.param
    return make, dtype, largest_error


def _weights(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(NUM_OUTPUTS, NUM_INPUTS, generator=generator) * 0.05
    return weight, torch.randn(NUM_OUTPUTS, generator=generator)


def _rows(num_rows: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(num_rows, NUM_INPUTS, generator=torch.Generator().manual_seed(2)).to(dtype)


def _made(make: KernelMaker, dtype: torch.dtype) -> LinearKernel:
    weight, bias = _weights()
    return make(weight.to(dtype), bias.to(dtype))


def test_kernel_projects_as_the_plain_weights_do(kernel_case: tuple[KernelMaker, torch.dtype, float]) -> None:
    """Up to what its number format rounds away; dtype and shape as of the plain projection, also for no rows at all."""
    make, dtype, largest_error = kernel_case
    kernel, (weight, bias) = _made(make, dtype), _weights()
    for num_rows in (0, 1, 5, 40):
        rows = _rows(num_rows, dtype)
        projected = kernel(rows)
        expected = F.linear(rows.float(), weight, bias)
        assert (projected.shape, projected.dtype) == ((num_rows, NUM_OUTPUTS), dtype)
        if num_rows:
            assert (projected.float() - expected).abs().max() <= largest_error * expected.abs().max()


def test_row_does_not_depend_on_its_neighbours(kernel_case: tuple[KernelMaker, torch.dtype, float]) -> None:
    """Bit for bit: alone, among many, and beside rows a million times as large or not numbers at all."""
    make, dtype, _ = kernel_case
    if make is OneDnnKernel and dtype == torch.bfloat16 and has_cpu_bfloat16():
        pytest.skip("its order of summation may depend on the number of rows")
    kernel, rows = _made(make, dtype), _rows(40, dtype)
    together = kernel(rows)
    assert torch.isfinite(together).all()
    for num_rows in (1, 2, 3, 8, 16, 17, 33):
        assert torch.equal(kernel(rows[:num_rows]), together[:num_rows]), num_rows
    beside = rows.clone()
    beside[1::2] *= 1e6
    beside[5] = float("nan")
    beside[7] = float("inf")
    assert torch.equal(kernel(beside)[::2], together[::2])


def test_row_that_is_not_finite_stays_so(kernel_case: tuple[KernelMaker, torch.dtype, float]) -> None:
    """The sampler tells a broken sequence by its logits: rounding to integers must not make numbers of it."""
    make, dtype, _ = kernel_case
    rows = _rows(2, dtype)
    rows[0, 3] = float("nan")
    rows[1, 4] = float("inf")
    assert not torch.isfinite(_made(make, dtype)(rows)).any()


def test_int8_products_are_exact_at_their_extremes() -> None:
    """Some CPUs add two 8-bit products in 16 bits; what would overflow them must come out right everywhere."""
    codes = torch.full((16, NUM_INPUTS), 127, dtype=torch.int8)
    codes[1::2] = -127
    kernel = Int8Kernel(codes, torch.ones(16), None)
    greatest = (1 << (activation_bits() - 1)) - 1
    rows = torch.full((3, NUM_INPUTS), float(greatest))
    rows[1] *= -1
    expected = rows.double() @ codes.double().t()
    assert torch.equal(kernel(rows).double(), expected)


@pytest.mark.parametrize(("make", "num_levels"), [(int8_kernel, 255), (int4_small_groups, 16)])
def test_weights_on_the_grid_are_kept(make: KernelMaker, num_levels: int) -> None:
    """A weight that its integers can hold exactly is not rounded a second time."""
    lowest = -(num_levels // 2)
    weight = torch.randint(lowest, lowest + num_levels, (16, NUM_INPUTS), generator=torch.Generator().manual_seed(3))
    weight[:, ::16], weight[:, 1::16] = lowest, lowest + num_levels - 1
    identity = torch.eye(NUM_INPUTS)
    torch.testing.assert_close(make(weight.float(), None)(identity).t(), weight.float(), atol=0.0, rtol=1e-6)


@pytest.mark.parametrize("make", [int8_kernel, int4_small_groups])
def test_weights_that_are_all_zero_project_to_zero(make: KernelMaker) -> None:
    """A pruned output has no scale to divide by."""
    assert torch.equal(make(torch.zeros(16, NUM_INPUTS), None)(_rows(2)), torch.zeros(2, 16))


def test_packing_lets_go_of_the_plain_weights() -> None:
    """Half the memory of a quantized model would be weights that nothing reads."""
    weight, bias = _weights()
    linear = Linear(weight, bias)
    plain_bytes, before = linear.num_bytes, linear(_rows(3))
    linear.pack(int8_kernel)
    assert linear.is_packed
    assert plain_bytes == 4 * (NUM_INPUTS + 1) * NUM_OUTPUTS
    assert linear.num_bytes == (NUM_INPUTS + 4 + 4) * NUM_OUTPUTS
    torch.testing.assert_close(linear(_rows(3)), before, atol=0.1, rtol=0.0)
    with pytest.raises(AssertionError):
        _ = linear.weight


def test_int4_takes_a_seventh_of_the_memory() -> None:
    """The point of it: half a byte a weight and four bytes a group."""
    make: Callable[..., LinearKernel] = int4_large_groups
    kernel = make(torch.randn(64, 1024), None)
    assert kernel.num_bytes == 64 * (1024 // 2 + 4 * 1024 // 128)


class _RowCounts(TorchDispatchMode):
    """Notes with how many rows the library is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if "linear_pointwise" in str(func):
            self.seen.add(len(args[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("quantization", [None, QUANTIZATIONS["int8"]])
def test_packed_projection_has_few_numbers_of_rows_compiled(quantization: Quantization | None) -> None:
    """Each is kept in memory: without it, prompts of all lengths cost a replica a gigabyte."""
    weight, rows = torch.randn(32, 64), torch.randn(700, 64)
    projection = Linear(weight, None)
    pack("qkv", projection, quantization=quantization)
    with _RowCounts() as counts:
        for num_rows in range(1, 700):
            projection(rows[:num_rows])
    assert 1 < len(counts.seen) < 40
    torch.testing.assert_close(projection(rows), rows @ weight.T, rtol=0, atol=1e-4 if quantization is None else 1.0)
