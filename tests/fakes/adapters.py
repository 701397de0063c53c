"""Small random LoRA adapters as PEFT writes them, and checkpoints into which one is merged."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ALL_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def save_adapter(
    model_dir: Path,
    adapter_dir: Path,
    *,
    targets: Sequence[str] = ALL_TARGETS,
    rank: int = 4,
    seed: int = 0,
    is_transposed: bool = False,
    **config: Any,
) -> Path:
    """Writes an adapter of the checkpoint in `model_dir` to `adapter_dir` and returns it; `config` adds fields.

    `is_transposed`: the checkpoint stores weights [in, out], as GPT-2's.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in load_file(model_dir / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if weight.ndim == 2 and module.rpartition(".")[2] in targets:
            out_size, in_size = weight.t().shape if is_transposed else weight.shape
            shapes = {"A": (rank, in_size), "B": (out_size, rank)}
            for part, shape in shapes.items():
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = torch.randn(shape, generator=generator) * 0.2
    adapter_dir.mkdir(parents=True)
    save_file(tensors, adapter_dir / "adapter_model.safetensors")
    fields = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "bias": "none", "target_modules": list(targets)}
    (adapter_dir / "adapter_config.json").write_text(json.dumps(fields | config))
    return adapter_dir


def save_merged(model_dir: Path, adapter_dir: Path, merged_dir: Path) -> Path:
    """Writes the checkpoint with W + scale * B A in place of W."""
    config = json.loads((adapter_dir / "adapter_config.json").read_text())
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    shutil.copytree(model_dir, merged_dir)
    weights = load_file(merged_dir / "model.safetensors")
    low_rank = load_file(adapter_dir / "adapter_model.safetensors")
    for name in list(low_rank):
        if name.endswith(".lora_A.weight"):
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b = low_rank[name.replace("lora_A", "lora_B")]
            added = scale * b @ low_rank[name]
            weight = weights[f"{module}.weight"]
            weight += added.t() if config.get("fan_in_fan_out") else added
    save_file(weights, merged_dir / "model.safetensors", metadata={"format": "pt"})
    return merged_dir
