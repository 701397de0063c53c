"""Weights are found under the names that their family gives them, wherever a checkpoint comes from."""

from pathlib import Path

import pytest
import torch
from fakes.checkpoints import FAMILIES, save_checkpoint
from fakes.plain_weights import plain_tensors
from safetensors.torch import load_file, save_file

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.cut import Cuts
from penstock_worker.models.decoder_weights import DecoderWeights
from penstock_worker.models.linear import Linear
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.tensor_check import check_tensors
from penstock_worker.models.weight_reader import WeightReader


def _read(model_dir: Path) -> DecoderWeights:
    _, config = read_model_config(model_dir)
    checkpoint = Checkpoint(model_dir)
    check_tensors(checkpoint, config)
    return WeightReader(checkpoint, config, dtype=torch.float32, device=torch.device("cpu")).read()


def _rename(model_dir: Path, old: str, new: str, **added: torch.Tensor) -> None:
    """Changes the names of all tensors; "__" in the name of an added one stands for a dot."""
    path = model_dir / "model.safetensors"
    tensors = {name.replace(old, new): tensor for name, tensor in load_file(path).items()}
    save_file(tensors | {name.replace("__", "."): tensor for name, tensor in added.items()}, path)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_read_once(tmp_path: Path, family: str) -> None:
    """As many numbers as the file holds: none is left out, none is counted twice. Norms may stand once per head."""
    weights = _read(save_checkpoint(family, tmp_path))
    _, config = read_model_config(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    other_parts = config.names.ignored_prefixes
    stored = sum(tensor.numel() for name, tensor in tensors.items() if not name.startswith(other_parts))
    repeated = sum(layer.qk_norm.weight.numel() - 2 * config.head_dim for layer in weights.layers if layer.qk_norm)
    assert sum(tensor.numel() for tensor in plain_tensors(weights)) == stored + repeated


def test_layers_are_packed_as_they_are_read(tmp_path: Path) -> None:
    """A model is never held twice, plain and packed: when a layer is packed, the next one has not been read."""
    _, config = read_model_config(save_checkpoint("llama", tmp_path))
    events: list[str] = []

    class Watched(Checkpoint):
        def read(self, name: str, cuts: Cuts) -> torch.Tensor:
            if name.endswith("q_proj.weight"):
                events.append("read")
            return super().read(name, cuts)

    def pack(name: str, projection: Linear) -> None:
        assert not projection.is_packed
        events.append(name)

    WeightReader(Watched(tmp_path), config, dtype=torch.float32, device=torch.device("cpu"), pack=pack).read()
    assert events == ["output_projection"] + 3 * ["read", "qkv", "output", "gate_up", "down"]


@pytest.mark.parametrize(("family", "base"), [("gpt2", "transformer."), ("bloom", "transformer.")])
def test_names_may_lack_the_base(tmp_path: Path, family: str, base: str) -> None:
    """The authors' own GPT-2 and BLOOM checkpoints are of the bare model, without a head around it."""
    whole, bare = (save_checkpoint(family, tmp_path / name) for name in ("whole", "bare"))
    _rename(bare, base, "")
    for ours, theirs in zip(plain_tensors(_read(bare)), plain_tensors(_read(whole)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("family", "ignored", "unexpected"),
    [
        ("gpt2", "transformer__h__0__attn__bias", "transformer__h__0__attn__c_bias"),
        ("gpt_neox", "gpt_neox__layers__1__attention__masked_bias", "gpt_neox__layers__9__attention__dense__bias"),
        ("llama", "model__layers__2__self_attn__rotary_emb__inv_freq", "model__layers__2__self_attn__q_proj__bias"),
    ],
)
def test_what_follows_from_the_configuration_is_ignored(
    tmp_path: Path, family: str, ignored: str, unexpected: str
) -> None:
    """Old checkpoints hold masks and frequencies as tensors. A bias of a projection is not such a one."""
    save_checkpoint(family, tmp_path)
    _rename(tmp_path, "", "", **{ignored: torch.zeros(3)})
    _read(tmp_path)
    _rename(tmp_path, "", "", **{unexpected: torch.zeros(3)})
    with pytest.raises(InvalidArgumentError, match="unexpected"):
        _read(tmp_path)
