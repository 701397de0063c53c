"""Equal revisions compute the same function."""

import shutil
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import edit_config
from safetensors.torch import load_file, save_file

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.revision import weights_revision


def _revision(model_dir: Path) -> str:
    return weights_revision(model_dir, Checkpoint(model_dir).files)


def test_copy_has_the_same_revision(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Replicas on different machines agree, whatever the directory and the times of its files."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(model_dir, copy, dirs_exist_ok=True)
    assert _revision(copy) == _revision(model_dir)


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"]
)
def test_trained_tensor_changes_the_revision(model_dir: Path, name: str) -> None:
    """One tensor that moved is another function."""
    before = _revision(model_dir)
    tensors = load_file(model_dir / "model.safetensors")
    tensors[name] = tensors[name] * 1.001
    save_file(tensors, model_dir / "model.safetensors")
    assert _revision(model_dir) != before


def test_every_page_of_a_small_tensor_counts(model_dir: Path) -> None:
    """Up to 64 KiB a tensor is digested whole."""
    before = _revision(model_dir)
    tensors = load_file(model_dir / "model.safetensors")
    tensors["model.layers.2.mlp.down_proj.weight"][17, 3] += 0.5
    save_file(tensors, model_dir / "model.safetensors")
    assert _revision(model_dir) != before


def test_large_tensor_is_sampled_from_its_first_to_its_last_page(model_dir: Path) -> None:
    """Changes of a part are noticed where the sample lies; the whole file is not read."""
    tensors = load_file(model_dir / "model.safetensors")
    tensors["large"] = torch.zeros(1024, 1024)
    revisions = set()
    for changed in (None, 0, -1):
        if changed is not None:
            tensors["large"][changed, changed] += 1.0
        save_file(tensors, model_dir / "model.safetensors")
        revisions.add(_revision(model_dir))
    assert len(revisions) == 3


def test_configuration_changes_the_revision(model_dir: Path) -> None:
    """The same weights with another epsilon compute another function."""
    before = _revision(model_dir)
    edit_config(model_dir, rms_norm_eps=1e-5)
    assert _revision(model_dir) != before


def test_file_that_was_cut_off_is_told(model_dir: Path) -> None:
    """A download that broke off is found before Ray starts, and by what is missing."""
    path = model_dir / "model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1000)
    with pytest.raises(InvalidArgumentError, match=r"got 'its last 1000 bytes are missing'; allowed: a whole safetens"):
        weights_revision(model_dir, (path,))
