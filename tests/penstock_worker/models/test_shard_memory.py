"""How much memory a shard takes is known before anything is read, and what does not fit is refused with the sums."""

import json
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import save_checkpoint
from fakes.sharded_model import ShardedRunner

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.memory_check import RUNTIME_BYTES, Setting, check_memory, largest_shard_bytes
from penstock_worker.models.packing import precision
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.shard_memory import Precision

GIB = 2**30
BF16 = Precision(number_bytes=2, projection_bytes=2)
CPU = torch.device("cpu")


@pytest.fixture
def llama_7b(tmp_path: Path) -> DecoderConfig:
    """The sizes of Llama 2 7B: 6.7 billion numbers."""
    fields = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return read_model_config(tmp_path)[1]


@pytest.mark.parametrize(
    ("family", "quantize"),
    [
        *((family, "none") for family in ("llama_biases", "gemma2", "qwen3_moe", "gpt2", "falcon_new", "bloom")),
        *((family, "int8") for family in ("llama_tied", "qwen2_moe", "gpt2_odd")),
        *((family, "int4") for family in ("llama_tied", "mixtral", "falcon")),
    ],
)
@pytest.mark.parametrize("ways", [(1, 1), (2, 2), (3, 1)])
def test_sums_are_what_a_loaded_shard_takes(family: str, quantize: str, ways: tuple[int, int], tmp_path: Path) -> None:
    """Embeddings, biases, norms, scales and all."""
    config = EngineConfig(device="cpu", dtype="float32", quantize=quantize)
    runner = ShardedRunner(save_checkpoint(family, tmp_path), config, *ways)
    largest = largest_shard_bytes(runner.model_config, Setting(*ways, quantize), precision(torch.float32, CPU))
    assert largest == max(model.num_bytes for model in runner.models)


def test_what_does_not_fit_is_refused_with_what_would(llama_7b: DecoderConfig) -> None:
    """For each way to round the fewest shards; coarser ways only where they save some."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_memory(llama_7b, Setting(), BF16, available_bytes=4 * GIB, kv_bytes=GIB // 2)
    assert caught.value.message == (
        "memory of a shard: got '4.00 GiB'; allowed: at least 13.44 GiB: 12.55 GiB of weights, 0.50 GiB of KV cache "
        "and 0.39 GiB for the process; with this much for each shard would fit: tensor_parallel=8; tensor_parallel=4 "
        "quantize=int8; tensor_parallel=2 quantize=int4"
    )


def test_what_fits_is_let_through(llama_7b: DecoderConfig) -> None:
    """To the last byte; the shards' memory is what counts, not the model's."""
    setting = Setting(tensor_parallel=2, pipeline_parallel=2)
    needed = largest_shard_bytes(llama_7b, setting, BF16) + RUNTIME_BYTES
    check_memory(llama_7b, setting, BF16, available_bytes=needed)
    with pytest.raises(InvalidArgumentError, match="tensor_parallel=8"):
        check_memory(llama_7b, setting, BF16, available_bytes=needed - 1)


def test_settings_that_fit_do_fit(llama_7b: DecoderConfig) -> None:
    """Every one that an error names would pass the same check."""
    for available in (2 * GIB, 6 * GIB, 9 * GIB):
        with pytest.raises(InvalidArgumentError) as caught:
            check_memory(llama_7b, Setting(), BF16, available_bytes=available)
        settings = caught.value.message.rpartition("would fit: ")[2].split("; ")
        for setting in map(_read, settings):
            check_memory(llama_7b, setting, BF16, available_bytes=available)


def _read(shown: str) -> Setting:
    fields = dict(part.split("=") for part in shown.split())
    ways = [int(fields.get(name, "1")) for name in ("tensor_parallel", "pipeline_parallel")]
    return Setting(ways[0], ways[1], fields.get("quantize", "none"))
