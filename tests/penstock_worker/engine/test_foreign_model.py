"""A decoder of no family of ours runs through transformers' module with our attention, or is refused with a reason."""

import json
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import FOREIGN, VOCAB_SIZE, edit_config
from near_tie import ReferenceModel
from safetensors.torch import load_file, save_file

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.foreign_model import load_foreign_model
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.fleet.checkpoint import inspect_checkpoint
from penstock_worker.models.foreign_config import ForeignConfig
from penstock_worker.models.registry import read_any_config


@pytest.fixture
def copy(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Callable[[str], Path]:
    """A copy of a checkpoint that a test may change."""

    def make(family: str) -> Path:
        for path in checkpoint(family).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        return tmp_path

    return make


@pytest.mark.parametrize("family", FOREIGN)
def test_logits_equal_transformers(
    family: str, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """Two sequences in chunks of seven, in one pass: each as transformers computes it alone, within 1e-4."""
    architecture, config = read_any_config(checkpoint(family))
    assert isinstance(config, ForeignConfig)
    cpu = torch.device("cpu")
    model = load_foreign_model(checkpoint(family), architecture, config, dtype=torch.float32, device=cpu)
    shape = (model.shape.num_layers, 13, 8, 2 * model.shape.num_kv_heads, model.shape.head_dim)
    runner = ModelRunner(model.model, KvCache(torch.full(shape, torch.nan)), model.attention)
    sequences = [[(step * index + 2) % VOCAB_SIZE for index in range(42)] for step in (5, 13)]
    expected = [reference(family).logits(tokens) for tokens in sequences]
    tables = [array("q", range(key, 12, 2)) for key in range(2)]
    for begin in range(0, 42, 7):
        chunks = [
            Chunk(key, array("q", tokens[begin : begin + 7]), begin, tables[key], 7)
            for key, tokens in enumerate(sequences)
        ]
        values = runner.run(StepPlan(chunks, [] if begin else list(range(12)))).values
        for key, ours in enumerate(values.chunk(2)):
            torch.testing.assert_close(ours, expected[key][begin : begin + 7], atol=1e-4, rtol=0.0)


def test_it_is_described_before_and_after_loading(checkpoint: Callable[[str], Path]) -> None:
    """The fleet needs no transformers for it; the numerics fingerprint names the library that computes."""
    spec = inspect_checkpoint(checkpoint("cohere"), "other")
    engine, loaded = build_engine(checkpoint("cohere"), EngineConfig(max_running_sequences=2))
    assert (spec.context_length, spec.vocab_size) == (loaded.context_length, loaded.vocab_size) == (512, VOCAB_SIZE)
    assert loaded.kernels.startswith("transformers ")
    assert loaded.num_parameters * 4 == loaded.weight_bytes > 0
    with pytest.raises(FailedPreconditionError, match="takes no adapters"):
        engine.adapters.load(AdapterSpec("a", "revision"), Path("anywhere"))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("bert_sees_both_ways", "its logits differ from transformers' own"),
        ("gpt_oss_sinks", "s_aux"),
        ("jamba_state_space", "its attention does not go through the interface"),
    ],
)
def test_what_would_compute_something_else_is_refused(
    family: str, reason: str, checkpoint: Callable[[str], Path]
) -> None:
    """Attention that is not causal, or has terms of its own, or state besides it, would give garbage without a word."""
    with pytest.raises(InvalidArgumentError, match=reason):
        build_engine(checkpoint(family), EngineConfig(device="cpu"))


def test_unknown_model_never_runs_code_of_its_own(copy: Callable[[str], Path]) -> None:
    """A checkpoint may bring Python files. They are not imported, and there is no setting that would do so."""
    model_dir = copy("cohere")
    (model_dir / "modeling_evil.py").write_text(f"open({str(model_dir / 'ran')!r}, 'w')")
    auto_map = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling_evil.Evil")
    edit_config(model_dir, architectures=["EvilForCausalLM"], model_type="evil", auto_map=auto_map)
    with pytest.raises(InvalidArgumentError, match="EvilForCausalLM"):
        build_engine(model_dir, EngineConfig(device="cpu"))
    assert not (model_dir / "ran").exists()


def test_unknown_architecture_is_not_taken_for_that_of_its_model_type(copy: Callable[[str], Path]) -> None:
    """Transformers goes by the type alone; what was saved by another class may compute something else."""
    model_dir = copy("cohere")
    edit_config(model_dir, architectures=["Cohere9ForCausalLM"])
    with pytest.raises(InvalidArgumentError, match=r"Cohere9ForCausalLM.*takes it for CohereForCausalLM"):
        build_engine(model_dir, EngineConfig(device="cpu"))


def test_without_transformers_it_is_refused_with_the_way_out(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are installed without it; the families need it not."""
    for module in ("penstock_worker.engine.foreign_model", "penstock_worker.models.foreign_decoder"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InvalidArgumentError, match=r"CohereForCausalLM.*install penstock\[transformers\]"):
        build_engine(checkpoint("cohere"), EngineConfig(device="cpu"))
    build_engine(checkpoint("llama"), EngineConfig(device="cpu"))


def test_missing_tensor_is_not_made_up(copy: Callable[[str], Path]) -> None:
    """Transformers would fill it with random numbers and only warn."""
    path = copy("cohere") / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InvalidArgumentError, match=r"missing_keys: model\.layers\.1\.mlp\.up_proj\.weight"):
        build_engine(path.parent, EngineConfig(device="cpu"))


def test_two_sets_of_weights_are_refused(copy: Callable[[str], Path]) -> None:
    """Transformers would load the single file, and the revision would name those of the index."""
    model_dir = copy("cohere")
    weights = (model_dir / "model.safetensors").read_bytes()
    (model_dir / "other.safetensors").write_bytes(weights)
    index = {"weight_map": dict.fromkeys(load_file(model_dir / "other.safetensors"), "other.safetensors")}
    (model_dir / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidArgumentError, match=r"got 'model\.safetensors and model\.safetensors\.index\.json'"):
        build_engine(model_dir, EngineConfig(device="cpu"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types"),
        ({"architectures": ["CohereModel"]}, "architectures"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
    ],
)
def test_what_config_tells_is_refused_by_the_fleet(
    copy: Callable[[str], Path], fields: dict[str, object], field: str
) -> None:
    """Before any replica is started, where that is enough to know."""
    model_dir = copy("cohere")
    edit_config(model_dir, **fields)
    with pytest.raises(InvalidArgumentError) as caught:
        inspect_checkpoint(model_dir, "other")
    assert caught.value.field is not None
    assert caught.value.field.endswith(f" {field}")


def test_window_that_attention_is_not_told_is_refused(copy: Callable[[str], Path]) -> None:
    """A window that only transformers' masks know would be missed, and too long for the check to show it."""
    model_dir = copy("cohere")
    edit_config(model_dir, sliding_window=4096)
    with pytest.raises(InvalidArgumentError, match="a window that its layers do not tell"):
        build_engine(model_dir, EngineConfig(device="cpu"))


def test_long_rope_ends_at_the_original_context(copy: Callable[[str], Path]) -> None:
    """Beyond it transformers' module would change the positions of all that is in the same step."""
    model_dir = copy("cohere")
    longrope = {"rope_type": "longrope", "original_max_position_embeddings": 128}
    edit_config(model_dir, rope_parameters=longrope)
    assert inspect_checkpoint(model_dir, "other").context_length == 128
    assert json.loads((model_dir / "config.json").read_text())["max_position_embeddings"] == 512


def test_quantizing_it_is_refused(checkpoint: Callable[[str], Path]) -> None:
    """Its projections are not ours to round; saying nothing would look as if they were."""
    with pytest.raises(InvalidArgumentError, match="quantize: got 'int8'; allowed: none"):
        build_engine(checkpoint("cohere"), EngineConfig(device="cpu", quantize="int8"))
