"""The fleet knows a checkpoint without loading it, and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock_shared.errors import InvalidArgumentError
from penstock_shared.fingerprint import tokenizer_fingerprint
from penstock_worker.fleet.checkpoint import inspect_checkpoint

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": 3,
}
HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """As much of a checkpoint as the fleet reads."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.7}))
    (tmp_path / "tokenizer.json").write_text("{}")
    weights = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)
    (tmp_path / "model.safetensors").write_bytes(weights)
    return tmp_path


def test_the_specification_comes_from_the_directory(model_dir: Path) -> None:
    """Gateway and tokenizer take it from here."""
    spec = inspect_checkpoint(model_dir, "tiny")
    assert (spec.name, spec.context_length, spec.vocab_size, spec.eos_token_ids) == ("tiny", 128, 64, (3,))
    assert spec.sampling_defaults.temperature == 0.7
    assert spec.tokenizer_fingerprint == tokenizer_fingerprint(model_dir)
    assert spec.tokenizer_path == str(model_dir)
    assert len(spec.revision) == 64


def test_other_weights_are_another_revision(model_dir: Path) -> None:
    """A replica that read them must not serve under the old name."""
    before = inspect_checkpoint(model_dir, "tiny").revision
    weights = model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert inspect_checkpoint(model_dir, "tiny").revision != before


def test_it_is_read_without_torch(model_dir: Path) -> None:
    """Driver and fleet stay small and start fast."""
    program = (
        "import sys, pathlib; from penstock_worker.fleet.checkpoint import inspect_checkpoint;"
        f"inspect_checkpoint(pathlib.Path({str(model_dir)!r}), 'tiny');"
        "import penstock_worker.__main__, penstock_worker.fleet.driver;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", json.dumps(CONFIG | {"architectures": ["BertModel"]}).encode()),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 16),
        ("model.safetensors", len(HEADER).to_bytes(8, "little") + b"[" * len(HEADER)),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"weight": "gone.safetensors"}}).encode()),
    ],
)
def test_a_broken_checkpoint_is_refused_with_the_file_at_fault(model_dir: Path, name: str, content: bytes) -> None:
    """Before Ray is started, in one line."""
    (model_dir / name).write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=r"config\.json|safetensors"):
        inspect_checkpoint(model_dir, "tiny")


def test_a_checkpoint_without_weights_is_refused(model_dir: Path) -> None:
    """A half-finished download is a common mistake."""
    (model_dir / "model.safetensors").unlink()
    with pytest.raises(InvalidArgumentError, match=r"model\.safetensors"):
        inspect_checkpoint(model_dir, "tiny")
