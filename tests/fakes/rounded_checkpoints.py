"""Checkpoints of rounded weights, written by the formats' descriptions, and the same numbers unrounded beside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from fakes.checkpoints import edit_config, save_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How weights are rounded and laid out.

    Attributes:
        layout: "gptq", "gptq_v2", "int-quantized" or "pack-quantized".
        bits: 4 or 8.
        group_size: -1 is one group a row.
        is_symmetric: no zero points.
        has_order: groups are not neighbours.
        has_rounded_activations: says so; no more.
    """

    layout: str
    bits: int = 4
    group_size: int = 32
    is_symmetric: bool = True
    has_order: bool = False
    has_rounded_activations: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """As `quantization_config`."""
        if self.layout.startswith("gptq"):
            return {
                "quant_method": "gptq",
                "bits": self.bits,
                "group_size": self.group_size,
                "desc_act": self.has_order,
                "sym": self.is_symmetric,
                "checkpoint_format": self.layout,
            }
        weights = {"num_bits": self.bits, "type": "int", "symmetric": self.is_symmetric, "dynamic": False}
        weights |= {"strategy": "channel"} if self.group_size == -1 else {"strategy": "group"}
        weights |= {"group_size": None if self.group_size == -1 else self.group_size}
        group: dict[str, Any] = {"targets": ["Linear"], "weights": weights, "input_activations": None}
        if self.has_rounded_activations:
            group["input_activations"] = {
                "num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True,
            }  # fmt: skip
        return {
            "quant_method": "compressed-tensors",
            "format": self.layout,
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
            "quantization_status": "compressed",
        }


def save_rounded(family: str, rounding: Rounding, directory: Path) -> tuple[Path, Path]:
    """Writes a random checkpoint of `family` rounded, and the numbers that it then stands for as a plain one."""
    plain = save_checkpoint(family, directory / "plain")
    rounded = save_checkpoint(family, directory / "rounded")
    tensors = load_file(plain / "model.safetensors")
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("proj.weight"):
            parts, numbers = _rounded(tensor, rounding)
            stored |= {f"{name.removesuffix('weight')}{part}": value for part, value in parts.items()}
            tensors[name] = numbers
        else:
            stored[name] = tensor
    save_file(tensors, plain / "model.safetensors")
    save_file(stored, rounded / "model.safetensors")
    edit_config(rounded, quantization_config=rounding.config)
    return rounded, plain


def _rounded(weight: torch.Tensor, rounding: Rounding) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The tensors that are stored, and the numbers that they stand for, float32 [out, in]."""
    num_outputs, num_inputs = weight.shape
    size = num_inputs if rounding.group_size == -1 else rounding.group_size
    num_groups = num_inputs // size
    groups = torch.arange(num_inputs) // size
    if rounding.has_order:
        groups = groups[torch.randperm(num_inputs, generator=torch.Generator().manual_seed(num_inputs))]
    scales, zeros, codes = torch.empty(num_outputs, num_groups), torch.empty(num_outputs, num_groups), weight.clone()
    top = (1 << rounding.bits) - 1
    for group in range(num_groups):
        columns = groups == group
        part = weight[:, columns]
        if rounding.is_symmetric:
            scale, zero = part.abs().amax(1) / (top / 2), torch.full((num_outputs,), float((top + 1) // 2))
        else:
            scale = (part.amax(1) - part.amin(1)) / top
            zero = (-part.amin(1) / scale).round()
        scales[:, group], zeros[:, group] = scale.half().float(), zero
        rounded = (part / scales[:, group : group + 1]).round() + zero[:, None]
        codes[:, columns] = rounded.clamp(0, top)
    numbers = (codes - zeros[:, groups]) * scales[:, groups]
    return _laid_out(codes.long(), scales.half(), zeros.long(), groups, rounding), numbers


def _laid_out(
    codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, groups: torch.Tensor, rounding: Rounding
) -> dict[str, torch.Tensor]:
    bits, half = rounding.bits, 1 << (rounding.bits - 1)
    if rounding.layout.startswith("gptq"):
        less = 1 if rounding.layout == "gptq" else 0
        return {
            "qweight": _packed(codes, bits).t().contiguous(),
            "qzeros": _packed((zeros - less).t(), bits),
            "scales": scales.t().contiguous(),
            "g_idx": groups.int(),
        }
    parts = {"weight_scale": scales}
    if rounding.has_order:
        parts["weight_g_idx"] = groups.int()
    if rounding.layout == "int-quantized":
        if not rounding.is_symmetric:
            parts["weight_zero_point"] = (zeros - half).to(torch.int8)
        return parts | {"weight": (codes - half).to(torch.int8)}
    if not rounding.is_symmetric:
        parts["weight_zero_point"] = _packed(zeros.t(), bits).t().contiguous()
    return parts | {"weight_packed": _packed(codes, bits), "weight_shape": torch.tensor(codes.shape)}


def _packed(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers of rows in 32-bit words, the first in the lowest bits; what is negative borrows from its neighbour."""
    rows = []
    for row in codes.tolist():
        words = []
        for start in range(0, len(row), 32 // bits):
            word = sum(code << (bits * place) for place, code in enumerate(row[start : start + 32 // bits]))
            words.append(word % (1 << 32))
        rows.append(words)
    return torch.tensor(rows, dtype=torch.int64).to(torch.int32)
