"""Writes a Qwen2 checkpoint in bf16 as GGUF files, bf16 and q8_0. Runs in llama.cpp's environment, without torch.

python -m engine_bench.converters.gguf_files MODEL_DIR OUTPUT_DIR
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

_PRECISIONS = {"bf16": gguf.GGMLQuantizationType.BF16, "int8": gguf.GGMLQuantizationType.Q8_0}
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write(model_dir: Path, path: Path, precision: gguf.GGMLQuantizationType) -> None:
    """One file. The tokenizer stays out: the bench sends token ids."""
    config = json.loads((model_dir / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "qwen2")
    _add_config(writer, config)
    for name, tensor in _tensors(model_dir / "model.safetensors"):
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor)
        else:
            writer.add_tensor(name, quantize(tensor, precision), raw_dtype=precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_config(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def _tensors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors of a safetensors file in bf16, as float32, under llama.cpp's names."""
    content = np.memmap(path, np.uint8, mode="r")
    num_header_bytes = int(content[:8].view(np.uint64)[0])
    header = json.loads(content[8 : 8 + num_header_bytes].tobytes())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        assert entry["dtype"] == "BF16"
        begin, end = (8 + num_header_bytes + offset for offset in entry["data_offsets"])
        bits = content[begin:end].view(np.uint16).astype(np.uint32) << 16
        yield _renamed(name), bits.view(np.float32).reshape(entry["shape"])


def _renamed(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{_NAMES[stem]}.{kind}"
    layer, inner = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{_NAMES[inner]}.{kind}"


if __name__ == "__main__":
    for _name, _precision in _PRECISIONS.items():
        write(Path(sys.argv[1]), Path(sys.argv[2]) / f"{_name}.gguf", _precision)
