"""Chooses the device and dtype that a checkpoint runs on and in."""

import torch

from penstock_shared.errors import InvalidArgumentError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(setting: str) -> torch.device:
    """The device for "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidArgumentError: there is no such device here.
    """
    num_cuda = torch.cuda.device_count()
    allowed = ["auto", "cpu", *(["cuda"] if num_cuda else []), *(f"cuda:{index}" for index in range(num_cuda))]
    if setting not in allowed:
        raise InvalidArgumentError("device", setting, ", ".join(allowed))
    if setting in ("auto", "cuda"):
        return torch.device("cuda", torch.cuda.current_device()) if num_cuda else torch.device("cpu")
    return torch.device(setting)


def choose_dtype(setting: str, stored: set[torch.dtype], device: torch.device) -> torch.dtype:
    """The dtype to run in. "auto" keeps what is stored where the device computes in it, else float32, which is exact.

    Raises:
        InvalidArgumentError: an unknown name, or one that the device does not compute in.
    """
    if setting == "auto":
        return _widest(stored) if _computes_in(_widest(stored), device) else torch.float32
    if setting not in _DTYPES:
        raise InvalidArgumentError("dtype", setting, ", ".join(["auto", *_DTYPES]))
    if setting == "float16" and device.type == "cpu":  # emulated, a hundred times slower
        raise InvalidArgumentError("dtype", setting, "float32, bfloat16 on a CPU")
    return _DTYPES[setting]


def _widest(stored: set[torch.dtype]) -> torch.dtype:
    """The one dtype of all tensors, or float32 for a mixture."""
    return next(iter(stored)) if len(stored) == 1 else torch.float32


def _computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    if device.type == "cuda":
        return dtype != torch.bfloat16 or torch.cuda.is_bf16_supported()
    return dtype == torch.float32 or (dtype == torch.bfloat16 and has_cpu_bfloat16())


def has_cpu_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers by itself (AVX-512 BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001
