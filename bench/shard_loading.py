"""How much memory a shard takes while it loads, each in a process, of a random checkpoint of Llama 3.2 1B's shape.

python bench/shard_loading.py --tensor-parallel 2 --pipeline-parallel 1 --quantize none
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.load_model import load_own
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.shard import Shard

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
MIB = 2**20
ALLOWED_SHARE, ALLOWED_MIB = 1.15, 400 * 10**6 / MIB


class _Unheard:
    """A group whose other members say nothing: memory is what counts, not numbers."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """As it is."""
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """As it is."""
        return tensor


def save_random_checkpoint(model_dir: Path) -> None:
    """Writes bfloat16 weights, a file for each layer."""
    (model_dir / "config.json").write_text(json.dumps(CONFIG))
    hidden, inner, heads = 2048, 8192, {"q": 2048, "k": 512, "v": 512}
    weight_map: dict[str, str] = {}

    def save(file_name: str, shapes: dict[str, tuple[int, ...]]) -> None:
        tensors = {name: torch.randn(shape).mul_(0.02).bfloat16() for name, shape in shapes.items()}
        save_file(tensors, model_dir / file_name, {"format": "pt"})
        weight_map.update(dict.fromkeys(shapes, file_name))

    save("ends.safetensors", {"model.embed_tokens.weight": (128256, hidden), "model.norm.weight": (hidden,)})
    for layer in range(16):
        stem = f"model.layers.{layer}."
        shapes: dict[str, tuple[int, ...]] = {}
        shapes |= {f"{stem}self_attn.{name}_proj.weight": (size, hidden) for name, size in heads.items()}
        shapes |= {f"{stem}self_attn.o_proj.weight": (hidden, hidden), f"{stem}mlp.down_proj.weight": (hidden, inner)}
        shapes |= {f"{stem}mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
        shapes |= {f"{stem}{name}.weight": (hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
        save(f"layer{layer}.safetensors", shapes)
    (model_dir / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def load_one(model_dir: Path, shard: Shard, quantize: str) -> None:
    """Loads a shard in this process and prints what it took."""
    torch.set_num_threads(1)
    before = _status("VmHWM")
    begin = time.perf_counter()
    config = EngineConfig(device="cpu", quantize=quantize)
    group = _Unheard(shard.tp_rank, shard.tp_size)
    model = load_own(Checkpoint(model_dir), read_model_config(model_dir)[1], config, shard, group)
    weights, peak = model.num_bytes / MIB, _status("VmHWM")
    allowed = weights * ALLOWED_SHARE + ALLOWED_MIB
    print(
        f"rank {shard.tp_rank} of {shard.tp_size}, stage {shard.stage} of {shard.num_stages}: "
        f"weights {weights:6.0f} MiB in {model.dtype}, peak {peak:6.0f} MiB (process before {before:.0f}), "
        f"allowed {allowed:6.0f} MiB, held after {_status('RssAnon'):6.0f} MiB; "
        f"{time.perf_counter() - begin:.1f} s {'ok' if peak <= allowed else 'TOO MUCH'}",
        flush=True,
    )
    if peak > allowed:
        raise SystemExit(1)


def _status(field: str) -> float:
    """MiB of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def main() -> None:
    """Loads every shard, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensor-parallel", type=int, default=2)
    parser.add_argument("--pipeline-parallel", type=int, default=1)
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--model-dir", type=Path, help="a checkpoint made before; made anew where it is absent")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only is not None:
        load_one(args.model_dir, Shard(*map(int, args.only.split(","))), args.quantize)
        return
    with tempfile.TemporaryDirectory() as folder:
        model_dir = args.model_dir or Path(folder)
        if not (model_dir / "config.json").exists():
            model_dir.mkdir(exist_ok=True)
            save_random_checkpoint(model_dir)
        failed = False
        for stage in range(args.pipeline_parallel):
            for rank in range(args.tensor_parallel):
                shard = f"{rank},{args.tensor_parallel},{stage},{args.pipeline_parallel}"
                command = [sys.executable, __file__, "--model-dir", model_dir, "--only", shard]
                command += ["--quantize", args.quantize]
                failed |= subprocess.run(command, check=False).returncode != 0
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
