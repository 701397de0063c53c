"""A model is cut so that nothing is missing, nothing but what all need is there twice, and no shard is idle."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from fakes.checkpoints import save_checkpoint
from fakes.thread_group import thread_groups

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.cut import Cuts, sizes
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.foreign_config import ForeignConfig
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.shard import Shard
from penstock_worker.models.shard_layout import shard_layout
from penstock_worker.models.split_check import check_split
from penstock_worker.models.weight_reader import WeightReader

Reads = list[tuple[str, Cuts]]
_FALCON_7B = {
    "architectures": ["FalconForCausalLM"],
    "vocab_size": 65024,
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "multi_query": True,
}
_QWEN2_HALF_B = {
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
}


def _config(tmp_path: Path, fields: dict[str, Any]) -> DecoderConfig:
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return read_model_config(tmp_path)[1]


class _Watched(Checkpoint):
    """Keeps what is read of it."""

    def __init__(self, model_dir: Path) -> None:
        super().__init__(model_dir)
        self.reads: Reads = []

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """See `Checkpoint.read`."""
        self.reads.append((name, cuts))
        return super().read(name, cuts)


def _reads(model_dir: Path, *, tensor_parallel: int, pipeline_parallel: int) -> Reads:
    """What all shards together read of a checkpoint."""
    _, config = read_model_config(model_dir)
    checkpoints = []

    def reader(shard: Shard, group: Any) -> Callable[[], object]:
        checkpoints.append(_Watched(model_dir))
        cpu = torch.device("cpu")
        return WeightReader(checkpoints[-1], config, dtype=torch.float32, device=cpu, shard=shard, group=group).read

    for stage in range(pipeline_parallel):
        members = enumerate(thread_groups(tensor_parallel))
        shards = [(Shard(rank, tensor_parallel, stage, pipeline_parallel), group) for rank, group in members]
        threads = [Thread(target=reader(shard, group)) for shard, group in shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [read for checkpoint in checkpoints for read in checkpoint.reads]


@pytest.mark.parametrize("family", ["llama_biases", "falcon_new", "gpt2", "phi3", "mixtral", "qwen2_moe", "bloom"])
def test_every_weight_is_read_by_one_shard(family: str, tmp_path: Path) -> None:
    """What is left out is missed by a sum; what is there twice counts twice, and costs memory."""
    counts: dict[str, torch.Tensor] = {}
    for name, cuts in _reads(save_checkpoint(family, tmp_path), tensor_parallel=2, pipeline_parallel=2):
        count = counts.setdefault(name, torch.zeros(sizes(cuts), dtype=torch.int64))
        count[torch.meshgrid(*(torch.tensor(cut.indices) for cut in cuts), indexing="ij")] += 1
    assert {int(count.min()) for count in counts.values()} == {1, 2}  # norms are everybody's
    everybodys = ("norm", "ln_", "layernorm", "gate.weight", "shared_expert_gate", "wpe", "wte", "word_embeddings")
    twice = {name for name, count in counts.items() if count.max() > 1}
    assert [name for name in twice if not any(part in name for part in everybodys)] == []


def test_heads_need_not_divide(tmp_path: Path) -> None:
    """Falcon 7B has 71 query heads and one key head, which both shards hold."""
    config = _config(tmp_path, _FALCON_7B)
    layouts = [shard_layout(config, Shard(rank, 2)) for rank in range(2)]
    assert [layout.query_heads.runs for layout in layouts] == [((0, 35),), ((35, 71),)]
    assert [layout.kv_heads.runs for layout in layouts] == [((0, 1),), ((0, 1),)]
    assert [layout.qkv.runs for layout in layouts] == [((0, 35 * 64), (71 * 64, 73 * 64)), ((35 * 64, 73 * 64),)]


def test_key_heads_are_held_by_several_ranks_where_they_are_few(tmp_path: Path) -> None:
    """Seven queries of a key head are shared by two ranks, as evenly as they go."""
    config = _config(tmp_path, _QWEN2_HALF_B)
    layouts = [shard_layout(config, Shard(rank, 4)) for rank in range(4)]
    assert [layout.query_heads.runs for layout in layouts] == [((0, 3),), ((3, 7),), ((7, 10),), ((10, 14),)]
    assert [layout.kv_heads.runs for layout in layouts] == [((0, 1),), ((0, 1),), ((1, 2),), ((1, 2),)]


def test_last_stage_has_fewer_layers_beside_the_output_projection(tmp_path: Path) -> None:
    """With a vocabulary like this one the projection to it takes as long as nine layers."""
    config = _config(tmp_path, _QWEN2_HALF_B)
    layers = [shard_layout(config, Shard(stage=stage, num_stages=2)).layers for stage in range(2)]
    assert layers == [range(17), range(17, 24)]


def test_groups_of_rounded_weights_stay_whole(tmp_path: Path) -> None:
    """The parts of an MLP are multiples of 32 where the shards are few enough."""
    config = _config(tmp_path, _QWEN2_HALF_B | {"intermediate_size": 4896})
    runs = [shard_layout(config, Shard(rank, 4)).intermediate.runs for rank in range(4)]
    assert runs == [((0, 1216),), ((1216, 2432),), ((2432, 3648),), ((3648, 4896),)]


@pytest.mark.parametrize(
    ("shard", "field", "allowed"),
    [
        (Shard(tp_size=15), "tensor_parallel", "1 to 14: the model has 14 query heads"),
        (Shard(num_stages=25), "pipeline_parallel", "1 to 24, the number of the model's layers"),
    ],
)
def test_too_many_shards_are_refused(shard: Shard, field: str, allowed: str, tmp_path: Path) -> None:
    """Somebody would have nothing to do; the error says how many can."""
    with pytest.raises(InvalidArgumentError, match=allowed) as caught:
        shard_layout(_config(tmp_path, _QWEN2_HALF_B), shard)
    assert caught.value.field == field


def test_models_of_transformers_run_in_one_piece() -> None:
    """Its modules are not ours to cut; to run the whole of it in every shard would be worse than an error."""
    check_split(ForeignConfig(100, 512), tensor_parallel=1, pipeline_parallel=1)
    for ways in ((2, 1), (1, 2)):
        with pytest.raises(InvalidArgumentError, match=r"1 for a model of no family of docs/models.md"):
            check_split(ForeignConfig(100, 512), tensor_parallel=ways[0], pipeline_parallel=ways[1])
