"""Checkpoints that store rounded weights mean what their format says, and what does not fit is named."""

from pathlib import Path

import pytest
import torch
from fakes.checkpoints import edit_config
from fakes.rounded_checkpoints import Rounding, save_rounded
from safetensors.torch import load_file, save_file

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.loaded_model import LoadedModel
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.models.cut import Cut, whole
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint

PROMPT = [7, 3, 150, 42, 99, 12, 180, 61, 5, 77, 123, 8, 34, 190, 2]

ROUNDINGS = {
    "gptq 4 bits": Rounding(layout="gptq"),
    "gptq 4 bits, own zeros": Rounding(layout="gptq", is_symmetric=False),
    "gptq 4 bits, own zeros, ordered": Rounding(layout="gptq", is_symmetric=False, has_order=True),
    "gptq 4 bits, one group": Rounding(layout="gptq", group_size=-1),
    "gptq 8 bits": Rounding(layout="gptq", bits=8, group_size=16),
    "gptq 8 bits, own zeros": Rounding(layout="gptq", bits=8, is_symmetric=False),
    "gptq v2 4 bits, own zeros": Rounding(layout="gptq_v2", is_symmetric=False),
    "8 bits and activations": Rounding(layout="int-quantized", bits=8, group_size=-1, has_rounded_activations=True),
    "8 bits, own zeros": Rounding(layout="int-quantized", bits=8, group_size=-1, is_symmetric=False),
    "packed 4 bits": Rounding(layout="pack-quantized"),
    "packed 4 bits, own zeros": Rounding(layout="pack-quantized", is_symmetric=False),
    "packed 4 bits, ordered": Rounding(layout="pack-quantized", has_order=True),
    "packed 8 bits": Rounding(layout="pack-quantized", bits=8, group_size=-1),
    "packed 8 bits, own zeros": Rounding(layout="pack-quantized", bits=8, group_size=32, is_symmetric=False),
}
# What has a kernel for its integers, which rounds scales or activations; the largest error of a log probability.
INTEGER_KERNELS = {
    "gptq 4 bits": 0.1,
    "gptq 4 bits, own zeros": 0.1,
    "gptq 4 bits, one group": 0.1,
    "gptq v2 4 bits, own zeros": 0.1,
    "packed 4 bits": 0.1,
    "packed 4 bits, own zeros": 0.1,
    "8 bits and activations": 0.3,
}


def _scores(model_dir: Path) -> tuple[torch.Tensor, LoadedModel]:
    """Log probabilities of the prompt's tokens."""
    engine, loaded = build_engine(model_dir, EngineConfig(device="cpu", max_running_sequences=2))
    sampling = SamplingOptions(max_tokens=1)
    engine.add(SequenceRequest(key=1, prompt_token_ids=PROMPT, sampling=sampling, prompt_logprobs=0))
    outputs = [output for _ in range(2) if engine.has_work for output in engine.step().outputs]
    return torch.tensor([scored.logprob for output in outputs for scored in output.prompt_logprobs]), loaded


def _edit_tensor(model_dir: Path, name: str, tensor: torch.Tensor | None) -> None:
    tensors = load_file(model_dir / "model.safetensors")
    tensors.pop(name)
    save_file(tensors if tensor is None else tensors | {name: tensor}, model_dir / "model.safetensors")


@pytest.mark.parametrize("name", ROUNDINGS)
def test_weights_are_the_numbers_that_the_integers_stand_for(name: str, tmp_path: Path) -> None:
    """Each number, in every layout: packing along input or output, zero points, groups that are not neighbours."""
    rounded, plain = save_rounded("llama", ROUNDINGS[name], tmp_path)
    _, config = read_model_config(rounded)
    assert config.stored_format is not None
    checkpoint = RoundedCheckpoint(Checkpoint(rounded), config.stored_format)
    expected = load_file(plain / "model.safetensors")
    assert set(checkpoint.names) == expected.keys()
    for tensor_name, tensor in expected.items():
        assert torch.equal(checkpoint.read(tensor_name, tuple(map(whole, tensor.shape))), tensor), tensor_name


@pytest.mark.parametrize("name", ROUNDINGS)
def test_parts_are_what_they_are_in_the_whole(name: str, tmp_path: Path) -> None:
    """A shard's part may begin and end within a word or a group, and have gaps."""
    rounded, _ = save_rounded("llama", ROUNDINGS[name], tmp_path)
    _, config = read_model_config(rounded)
    assert config.stored_format is not None
    checkpoint = RoundedCheckpoint(Checkpoint(rounded), config.stored_format)
    tensor_name = "model.layers.1.mlp.down_proj.weight"
    in_whole = checkpoint.read(tensor_name, (whole(64), whole(96)))
    for outputs, inputs in (
        (Cut(64, ((5, 21),)), Cut(96, ((3, 50),))),
        (Cut(64, ((0, 8), (40, 64))), whole(96)),
        (whole(64), Cut(96, ((64, 96),))),
    ):
        part = checkpoint.read(tensor_name, (outputs, inputs))
        assert torch.equal(part, in_whole[outputs.indices][:, inputs.indices])


@pytest.mark.parametrize("name", ROUNDINGS)
def test_rounded_model_scores_as_the_same_numbers_do(name: str, tmp_path: Path) -> None:
    """Fused projections and rotated heads keep each integer with its scale; integers stay small in memory."""
    rounded, plain = save_rounded("qwen3", ROUNDINGS[name], tmp_path)
    (expected, _), (scores, loaded) = _scores(plain), _scores(rounded)
    assert len(expected) == len(PROMPT) - 1
    largest_error = INTEGER_KERNELS.get(name, 1e-4)
    assert (scores - expected).abs().max() < largest_error
    assert loaded.quantization.startswith(f"w{ROUNDINGS[name].bits}")
    if name in INTEGER_KERNELS:
        assert (scores - expected).abs().max() > 1e-5, "not by its integers"


def test_integers_take_their_own_memory(tmp_path: Path) -> None:
    """A model of 4 bits that is held in 32 would be a surprise."""
    rounded, plain = save_rounded("llama", ROUNDINGS["packed 4 bits"], tmp_path)
    (_, whole), (_, small) = _scores(plain), _scores(rounded)
    projections = 3 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96)
    assert whole.num_parameters == small.num_parameters
    assert whole.weight_bytes - small.weight_bytes > 3 * projections


def test_biases_of_zeros_are_passed_over(tmp_path: Path) -> None:
    """GPTQ's writers give every projection one; a bias that says something is not silently dropped."""
    rounded, plain = save_rounded("llama", ROUNDINGS["gptq 8 bits"], tmp_path)
    name = "model.layers.0.mlp.down_proj.bias"
    tensors = load_file(rounded / "model.safetensors")
    save_file(tensors | {name: torch.zeros(64)}, rounded / "model.safetensors")
    torch.testing.assert_close(_scores(rounded)[0], _scores(plain)[0], atol=1e-4, rtol=0.0)
    save_file(tensors | {name: torch.ones(64)}, rounded / "model.safetensors")
    with pytest.raises(InvalidArgumentError, match=f"unexpected: {name}"):
        build_engine(rounded, EngineConfig(device="cpu"))


def test_rounding_again_is_refused(tmp_path: Path) -> None:
    """Nobody asks for the loss of both."""
    rounded, _ = save_rounded("llama", ROUNDINGS["gptq 4 bits"], tmp_path)
    with pytest.raises(InvalidArgumentError, match="quantize: got 'int8'; allowed: none: the checkpoint's weights"):
        build_engine(rounded, EngineConfig(device="cpu", quantize="int8"))


@pytest.mark.parametrize(
    ("name", "tensor", "value"),
    [
        ("gptq 4 bits", "qzeros", None),
        ("gptq 4 bits", "scales", torch.zeros(3, 64)),
        ("gptq 4 bits", "g_idx", torch.full((64,), 2, dtype=torch.int32)),
        ("gptq 4 bits", "g_idx", torch.zeros(63, dtype=torch.int32)),
        ("gptq 4 bits", "qweight", torch.zeros(8, 64)),
        ("packed 4 bits", "weight_shape", torch.tensor([64, 1 << 40])),
        ("packed 4 bits", "weight_packed", torch.zeros(64, 9, dtype=torch.int32)),
        ("8 bits and activations", "weight_scale", torch.zeros(64, 2)),
        ("8 bits and activations", "weight", torch.zeros(64, 64)),
    ],
)
def test_tensor_that_does_not_fit_is_named(name: str, tensor: str, value: torch.Tensor | None, tmp_path: Path) -> None:
    """A file of other hands may hold anything; it ends in one error, at load."""
    rounded, _ = save_rounded("llama", ROUNDINGS[name], tmp_path)
    _edit_tensor(rounded, f"model.layers.1.self_attn.q_proj.{tensor}", value)
    with pytest.raises(InvalidArgumentError, match=r"q_proj"):
        build_engine(rounded, EngineConfig(device="cpu"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"quant_method": "awq"}, "quant_method"),
        ({"quant_method": None}, "quant_method"),
        ({"bits": 3}, "bits"),
        ({"group_size": 0}, "group_size"),
        ({"group_size": None}, "group_size"),
        ({"dynamic": {"-:.*": {}}}, "dynamic"),
        ({"checkpoint_format": "marlin"}, "checkpoint_format"),
    ],
)
def test_unsupported_gptq_is_refused(fields: dict[str, object], field: str, tmp_path: Path) -> None:
    """With the field's name."""
    rounded, _ = save_rounded("llama", ROUNDINGS["gptq 4 bits"], tmp_path)
    edit_config(rounded, quantization_config=ROUNDINGS["gptq 4 bits"].config | fields)
    with pytest.raises(InvalidArgumentError, match=f"quantization_config {field}"):
        read_model_config(rounded)


@pytest.mark.parametrize(
    ("part", "fields", "field"),
    [
        ("", {"format": "marlin-24"}, "format"),
        ("", {"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        ("", {"config_groups": {}}, "config_groups"),
        ("", {"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity_config format"),
        ("weights", {"num_bits": 2}, "num_bits"),
        ("weights", {"type": "float"}, "type"),
        ("weights", {"strategy": "block"}, "strategy"),
        ("input_activations", {"dynamic": False}, "dynamic"),
        ("input_activations", {"strategy": "tensor"}, "strategy"),
        ("input_activations", {"type": "float"}, "type"),
    ],
)
def test_unsupported_compressed_tensors_are_refused(
    part: str, fields: dict[str, object], field: str, tmp_path: Path
) -> None:
    """With the field's name."""
    rounding = ROUNDINGS["8 bits and activations"]
    rounded, _ = save_rounded("llama", rounding, tmp_path)
    config = rounding.config
    if part:
        config["config_groups"]["group_0"][part] |= fields
    else:
        config |= fields
    edit_config(rounded, quantization_config=config)
    with pytest.raises(InvalidArgumentError, match=f"{field}: got"):
        read_model_config(rounded)
