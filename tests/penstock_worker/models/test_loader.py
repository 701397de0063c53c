"""Checkpoints are read completely and from safetensors files only; whatever is wrong with one is named."""

import json
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import edit_config, save_checkpoint
from fakes.plain_weights import plain_tensors
from safetensors.torch import load_file, save_file

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.mapped_file import MappedFile
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.weight_reader import WeightReader

INDEX = "model.safetensors.index.json"


def _weights(model_dir: Path, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    _, config = read_model_config(model_dir)
    reader = WeightReader(Checkpoint(model_dir), config, dtype=dtype, device=torch.device("cpu"))
    return list(plain_tensors(reader.read()))


def _edit_tensors(model_dir: Path, **changed: torch.Tensor | None) -> None:
    """Changes tensors of a single-file checkpoint; None removes one. "__" in a name stands for a dot."""
    path = model_dir / "model.safetensors"
    tensors: dict[str, torch.Tensor | None] = load_file(path) | {
        name.replace("__", "."): tensor for name, tensor in changed.items()
    }
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


def test_sharded_checkpoint_equals_the_single_file(tmp_path: Path) -> None:
    """An index and several files are the same weights."""
    single = save_checkpoint("llama", tmp_path / "single")
    sharded = save_checkpoint("llama", tmp_path / "sharded", max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    for ours, theirs in zip(_weights(sharded), _weights(single), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_exactly(model_dir: Path, dtype: torch.dtype) -> None:
    """What is stored in 16 bits runs in 32 with the very same values."""
    path = model_dir / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
    wide, narrow = _weights(model_dir), _weights(model_dir, dtype)
    assert {tensor.dtype for tensor in wide} == {torch.float32}
    assert all(torch.equal(ours, theirs.float()) for ours, theirs in zip(wide, narrow, strict=True))


def test_wrong_tensors_are_all_named(model_dir: Path) -> None:
    """One error says everything that is wrong, so that it can be mended in one go."""
    _edit_tensors(model_dir, model__norm__weight=None, surplus=torch.zeros(1), lm_head__weight=torch.zeros(3, 4))
    with pytest.raises(InvalidArgumentError) as caught:
        build_engine(model_dir, EngineConfig(device="cpu"))
    for part in ("missing: model.norm.weight", "unexpected: surplus", "lm_head.weight is (3, 4), not (199, 64)"):
        assert part in caught.value.message


def test_config_of_another_model_is_refused(model_dir: Path) -> None:
    """Weights and configuration that do not belong together are noticed before anything runs."""
    edit_config(model_dir, intermediate_size=97)
    with pytest.raises(InvalidArgumentError, match=r"gate_proj.weight is \(96, 64\), not \(97, 64\).*and 4 more"):
        build_engine(model_dir, EngineConfig(device="cpu"))


def test_tensors_that_follow_from_others_may_be_there(tmp_path: Path) -> None:
    """Old checkpoints carry rotary frequencies, some tied ones their output projection."""
    model_dir = save_checkpoint("llama_tied", tmp_path)
    _edit_tensors(
        model_dir,
        lm_head__weight=torch.zeros(199, 64),
        model__layers__0__self_attn__rotary_emb__inv_freq=torch.zeros(8),
    )
    build_engine(model_dir, EngineConfig(device="cpu"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    """Loading one would run whatever code it holds. It is not even opened."""
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InvalidArgumentError, match=rf"{name}.*allowed: a directory with model\.safetensors"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "model.bin", "a\\..\\b.bin", ""],
)
def test_index_never_leads_outside_the_directory(model_dir: Path, name: str) -> None:
    """An index is data from elsewhere: it names files beside itself and nothing else."""
    (model_dir / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    with pytest.raises(InvalidArgumentError, match=r"names of \.safetensors files beside it"):
        Checkpoint(model_dir)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_broken_index_is_refused(model_dir: Path, index: dict[str, object]) -> None:
    """One clear error names the file and the field."""
    (model_dir / INDEX).write_text(json.dumps(index))
    with pytest.raises(InvalidArgumentError, match=r"index\.json weight_map"):
        Checkpoint(model_dir)


def test_missing_shard_is_named(model_dir: Path) -> None:
    """A download that is not complete is the usual case."""
    (model_dir / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(InvalidArgumentError, match=r"model-00002-of-00002\.safetensors"):
        Checkpoint(model_dir)


@pytest.mark.parametrize("num_bytes", [0, 7, 1000, 300_000])
def test_truncated_file_is_refused(model_dir: Path, num_bytes: int) -> None:
    """A broken file is an error of the tree, never a crash."""
    path = model_dir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(InvalidArgumentError, match="a readable safetensors file"):
        Checkpoint(model_dir)


def test_quantized_tensor_is_refused(model_dir: Path) -> None:
    """Eight-bit numbers without their scales would be read as weights."""
    _edit_tensors(model_dir, model__norm__weight=torch.zeros(64, dtype=torch.int8))
    with pytest.raises(InvalidArgumentError, match=r"model\.norm\.weight dtype: got 'I8'; allowed: F32, F16, BF16"):
        build_engine(model_dir, EngineConfig(device="cpu"))


def test_weights_outlive_the_file(model_dir: Path) -> None:
    """A checkpoint that is replaced while it serves must not change, or crash, what runs."""
    weights = _weights(model_dir)
    before = [tensor.clone() for tensor in weights]
    path = model_dir / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(-path.stat().st_size // 2, 2)
        file.write(b"\xff" * (path.stat().st_size // 2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(weights, before, strict=True))


def test_file_that_changes_while_it_is_read_is_refused(model_dir: Path) -> None:
    """Half of one model and half of another would run without a word."""
    path = model_dir / "model.safetensors"
    file = MappedFile(path)
    path.write_bytes(path.read_bytes())
    file.unmap()
    with pytest.raises(FailedPreconditionError, match="changed while it was read"):
        file.shape("model.norm.weight")
