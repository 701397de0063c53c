"""Makes the checkpoints of the bench: bf16, and the same weights in 8 bits for peers that read them from a file."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

_POCKET = Path(__file__).parents[2] / "models" / "pocket"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def make_checkpoint(directory: Path, shape: dict[str, Any]) -> Path:
    """A random Qwen2 checkpoint of this shape in bf16, kept in `directory` from run to run.

    It carries the pocket model's tokenizer, since some peers do not start without one.
    """
    model_dir = directory / "bf16"
    if not (model_dir / "done").exists():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        Qwen2ForCausalLM(Qwen2Config(**shape)).save_pretrained(model_dir)
        torch.set_default_dtype(torch.float32)
        for name in _TOKENIZER_FILES:
            shutil.copyfile(_POCKET / name, model_dir / name)
        (model_dir / "done").touch()
    return model_dir


def make_w8a8_checkpoint(directory: Path, model_dir: Path) -> Path:
    """The checkpoint in compressed-tensors format: int8 weights, a scale for each output; activations per token."""
    quantized_dir = directory / "w8a8"
    if not (quantized_dir / "done").exists():
        model = Qwen2ForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16)
        quantized_dir.mkdir(exist_ok=True)
        save_file(_quantized(model), quantized_dir / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((model_dir / "config.json").read_text()) | {"quantization_config": _w8a8_config()}
        (quantized_dir / "config.json").write_text(json.dumps(config, indent=1))
        for name in _TOKENIZER_FILES:
            shutil.copyfile(model_dir / name, quantized_dir / name)
        (quantized_dir / "done").touch()
    return quantized_dir


def _quantized(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        if not name.endswith("proj.weight"):
            tensors[name] = tensor.contiguous()
            continue
        scale = tensor.float().abs().amax(dim=1, keepdim=True) / 127
        tensors[name] = (tensor.float() / scale).round().to(torch.int8)
        tensors[name.replace(".weight", ".weight_scale")] = scale.to(torch.bfloat16)
    return tensors


def _w8a8_config() -> dict[str, Any]:
    eight_bits = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": eight_bits | {"strategy": "channel", "dynamic": False},
        "input_activations": eight_bits | {"strategy": "token", "dynamic": True},
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
