"""Device and dtype are chosen to be exact first and fast second."""

import pytest
import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.placement import choose_device, choose_dtype, has_cpu_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("setting", "stored", "expected"),
    [
        ("auto", {torch.float32}, torch.float32),
        ("auto", {torch.float16}, torch.float32),
        ("auto", {torch.bfloat16, torch.float32}, torch.float32),
        ("auto", {torch.bfloat16}, torch.bfloat16 if has_cpu_bfloat16() else torch.float32),
        ("bfloat16", {torch.float32}, torch.bfloat16),
        ("float32", {torch.bfloat16}, torch.float32),
    ],
)
def test_dtype_on_a_cpu(setting: str, stored: set[torch.dtype], expected: torch.dtype) -> None:
    """bfloat16 only where the CPU multiplies it; widening is exact."""
    assert choose_dtype(setting, stored, CPU) == expected


@pytest.mark.parametrize("setting", ["float16", "int8", "fp32", ""])
def test_dtype_that_does_not_run_is_refused(setting: str) -> None:
    """float16 is emulated on CPUs, a hundred times slower: nobody means that."""
    with pytest.raises(InvalidArgumentError, match=r"dtype: got .*allowed: .*float32"):
        choose_dtype(setting, {torch.float32}, CPU)


@pytest.mark.parametrize("setting", ["tpu", "cuda:99", ""])
def test_device_that_is_not_there_is_refused(setting: str) -> None:
    """The error lists what there is."""
    with pytest.raises(InvalidArgumentError, match=r"device: got .*allowed: auto, cpu"):
        choose_device(setting)


def test_auto_takes_cuda_where_there_is_one() -> None:
    """And the CPU elsewhere."""
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU
