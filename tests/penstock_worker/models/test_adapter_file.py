"""An adapter that would compute something else than its author meant is refused, with the reason."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.adapters import save_adapter
from fakes.checkpoints import save_checkpoint
from safetensors.torch import load_file, save_file

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.adapters import read_adapter
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.registry import read_model_config

FIRST_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama."""
    return save_checkpoint("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def model(model_dir: Path) -> DecoderConfig:
    """Its configuration."""
    return read_model_config(model_dir)[1]


def change(adapter_dir: Path, **tensors: torch.Tensor | None) -> None:
    """Replaces tensors of an adapter; None takes one away."""
    path = adapter_dir / "adapter_model.safetensors"
    changed = load_file(path) | tensors
    save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "adapter_config.json use_dora: got True"),
        ({"bias": "all"}, "adapter_config.json bias: got 'all'; allowed: none"),
        ({"modules_to_save": ["lm_head"]}, "adapter_config.json modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "adapter_config.json rank_pattern"),
        ({"peft_type": "IA3"}, "adapter_config.json peft_type: got 'IA3'; allowed: LORA"),
        ({"init_lora_weights": "pissa"}, "adapter_config.json init_lora_weights: got 'pissa'"),
        ({"r": 0}, "adapter_config.json r: got 0"),
        ({"r": 8}, "shape \\(8, 64\\)"),
    ],
)
def test_what_is_no_plain_lora_is_refused(
    config: dict[str, Any], message: str, tmp_path: Path, model_dir: Path, model: DecoderConfig
) -> None:
    """Left out in silence, it would give other outputs than in training."""
    adapter_dir = save_adapter(model_dir, tmp_path / "adapter", **config)
    with pytest.raises(InvalidArgumentError, match=message):
        open_adapter(adapter_dir, model)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"base_model.model.lm_head.lora_A.weight": torch.zeros(4, 64)}, "adapter tensors: got '.*lm_head"),
        ({FIRST_A: torch.zeros(4, 32)}, f"adapter tensor {FIRST_A}: got \\(4, 32\\); allowed: shape \\(4, 64\\)"),
        ({FIRST_A: None}, f"adapter tensor {FIRST_A}: got 'nothing'"),
        ({FIRST_A: torch.zeros(4, 64, dtype=torch.int8)}, f"tensor {FIRST_A} dtype: got 'I8'"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_named(
    tensors: dict[str, torch.Tensor | None], message: str, tmp_path: Path, model_dir: Path, model: DecoderConfig
) -> None:
    """An adapter of another model, or half of one."""
    adapter_dir = save_adapter(model_dir, tmp_path / "adapter")
    change(adapter_dir, **tensors)
    with pytest.raises(InvalidArgumentError, match=message):
        open_adapter(adapter_dir, model)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, model_dir: Path, model: DecoderConfig) -> None:
    """A merge of the rows of several requests must never meet one."""
    adapter_dir = save_adapter(model_dir, tmp_path / "adapter")
    change(adapter_dir, **{FIRST_A: torch.full((4, 64), float("inf"))})
    with pytest.raises(InvalidArgumentError, match="finite numbers"):
        read_adapter(open_adapter(adapter_dir, model), model, dtype=torch.float32, device=torch.device("cpu"))


def test_missing_files_are_refused(tmp_path: Path, model_dir: Path, model: DecoderConfig) -> None:
    """A wrong path, or pickled weights, end in one clear error."""
    with pytest.raises(InvalidArgumentError, match=r"adapter_config\.json: got 'No such file"):
        open_adapter(tmp_path, model)
    adapter_dir = save_adapter(model_dir, tmp_path / "adapter")
    (adapter_dir / "adapter_model.safetensors").rename(adapter_dir / "adapter_model.bin")
    with pytest.raises(InvalidArgumentError, match=r"No such file or directory.*a safetensors file"):
        open_adapter(adapter_dir, model)


def test_revision_follows_every_byte(tmp_path: Path, model_dir: Path, model: DecoderConfig) -> None:
    """Caches tell outputs apart by it."""
    revisions = [
        open_adapter(save_adapter(model_dir, tmp_path / name, seed=seed, **config), model).revision
        for name, seed, config in (("a", 0, {}), ("b", 0, {}), ("c", 1, {}), ("d", 0, {"lora_alpha": 9}))
    ]
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3
