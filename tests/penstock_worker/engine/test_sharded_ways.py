"""What else a model does, it does in shards too: rounded weights, adapters, fixed bits, embeddings, scored prompts."""

import random
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes.adapters import save_adapter, save_merged
from fakes.checkpoints import VOCAB_SIZE
from fakes.rounded_checkpoints import Rounding, save_rounded
from fakes.sharded_model import OneProcess, ShardedRunner, sharded_engine
from near_tie import ReferenceModel, assert_greedy_equal

from penstock_shared.directory import AdapterSpec
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Pooling
from penstock_worker.engine.scoring import Scoring
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.models.adapter_file import open_adapter

CONFIG = EngineConfig(device="cpu", dtype="float32")
WAYS = [(2, 1), (1, 2), (2, 2)]
_GENERATOR = random.Random(8)
PROMPTS = [[_GENERATOR.randrange(VOCAB_SIZE) for _ in range(length)] for length in (40, 3, 17, 29)]


def _generate(engine: Engine, prompts: list[list[int]], adapters: list[str | None] | None = None) -> list[list[int]]:
    outputs: list[list[int]] = [[] for _ in prompts]
    sampling = SamplingOptions(max_tokens=20, ignore_eos=True)
    for key, (prompt, adapter) in enumerate(zip(prompts, adapters or [None] * len(prompts), strict=True)):
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling, adapter=adapter))
    while engine.has_work:
        for output in engine.step().outputs:
            outputs[output.key] += output.token_ids
    return outputs


def _logits(runner: ShardedRunner, *prompts: list[int]) -> list[torch.Tensor]:
    """Logits after every token of prompts that are computed in one step."""
    chunks = []
    for key, prompt in enumerate(prompts):
        chunks.append(Chunk(key, array("q", prompt), 0, array("q", range(4 * key, 4 * key + 4)), len(prompt)))
    values = runner.run(StepPlan(chunks, list(range(4 * len(prompts))))).values
    return list(torch.split(values, [len(prompt) for prompt in prompts]))


@pytest.mark.parametrize("family", ["llama_biases", "qwen2", "mixtral", "falcon", "gpt2_odd"])
@pytest.mark.parametrize("ways", WAYS)
def test_rounding_to_8_bits_equals_one_process(
    family: str, ways: tuple[int, int], checkpoint: Callable[[str], Path]
) -> None:
    """Scales come from whole rows of weights and whole tokens, so that shards round to the same integers."""
    config = replace(CONFIG, quantize="int8")
    whole = OneProcess(checkpoint(family), config)
    engine = sharded_engine(ShardedRunner(checkpoint(family), config, *ways), config)
    for prompt, output in zip(PROMPTS, _generate(engine, PROMPTS), strict=True):
        assert_greedy_equal(whole, prompt, output)


def test_rounding_to_4_bits_is_as_near_as_its_kernel(checkpoint: Callable[[str], Path]) -> None:
    """Shards have the same integers; but the kernel rounds what each of them makes of its part to bfloat16."""
    config = replace(CONFIG, quantize="int4")
    [expected] = _logits(ShardedRunner(checkpoint("llama"), config, 1, 1), PROMPTS[0])
    [found] = _logits(ShardedRunner(checkpoint("llama"), config, 2, 1), PROMPTS[0])
    assert (found - expected).abs().mean() < 0.03 * expected.std()


@pytest.mark.parametrize(
    ("rounding", "largest_error"),
    [
        (Rounding(layout="gptq", is_symmetric=False, has_order=True), 1e-4),
        (Rounding(layout="gptq", bits=8, group_size=16), 1e-4),
        (Rounding(layout="gptq_v2", is_symmetric=False), 0.3),  # the kernel for 4 bits rounds to bfloat16
        (Rounding(layout="int-quantized", bits=8, group_size=-1, has_rounded_activations=True), 1e-4),
        (Rounding(layout="pack-quantized", bits=8, is_symmetric=False), 1e-4),
    ],
)
@pytest.mark.parametrize("tensor_parallel", [2, 3])
def test_rounded_checkpoints_are_read_in_parts(
    rounding: Rounding, largest_error: float, tensor_parallel: int, tmp_path: Path
) -> None:
    """Integers, scales and zero points of a part belong together, also where it begins within a word or a group."""
    rounded, _ = save_rounded("qwen3", rounding, tmp_path)
    [expected] = _logits(ShardedRunner(rounded, CONFIG, 1, 1), PROMPTS[0])
    [found] = _logits(ShardedRunner(rounded, CONFIG, tensor_parallel, 1), PROMPTS[0])
    assert (found - expected).abs().max() < largest_error


@pytest.mark.parametrize(
    ("family", "targets", "ways"),
    [
        ("qwen2", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], (2, 2)),
        ("llama", ["q_proj", "v_proj", "down_proj"], (4, 1)),
        ("phi3", ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], (2, 1)),
        ("gpt2", ["c_attn", "c_proj", "c_fc"], (2, 1)),
        ("falcon_new", ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"], (2, 2)),
    ],
)
def test_adapters_equal_merged_weights(
    family: str, targets: list[str], ways: tuple[int, int], tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """Each shard adds its part of the adapter, on the rows that ask for it and on no others."""
    model_dir, is_transposed = checkpoint(family), family == "gpt2"
    adapter_dir = save_adapter(
        model_dir, tmp_path / "law", targets=targets, is_transposed=is_transposed, fan_in_fan_out=is_transposed
    )
    runner = ShardedRunner(model_dir, CONFIG, *ways)
    engine = sharded_engine(runner, CONFIG)
    engine.adapters.load(AdapterSpec("law", open_adapter(adapter_dir, runner.model_config).revision), adapter_dir)
    adapted = ReferenceModel(save_merged(model_dir, adapter_dir, tmp_path / "merged"))
    plain = ReferenceModel(model_dir)
    outputs = _generate(engine, PROMPTS, ["law", None, "law", None])
    for prompt, output, reference in zip(PROMPTS, outputs, [adapted, plain] * 2, strict=True):
        assert_greedy_equal(reference, prompt, output)


@pytest.mark.parametrize(("family", "quantize"), [("llama", "none"), ("qwen2_moe", "int8"), ("falcon", "none")])
def test_fixed_bits_stay_fixed(family: str, quantize: str, checkpoint: Callable[[str], Path]) -> None:
    """Deterministic mode holds for a number of shards: what is computed beside a sequence does not change its bits."""
    config = replace(CONFIG, deterministic=True, quantize=quantize)
    runner = ShardedRunner(checkpoint(family), config, 2, 2)
    alone = [_logits(runner, prompt)[0] for prompt in PROMPTS]
    for one, other in zip(alone, _logits(runner, *PROMPTS), strict=True):
        assert torch.equal(one, other)


def test_embeddings_and_scored_prompts_equal_one_process(checkpoint: Callable[[str], Path]) -> None:
    """All ranks make the calls that these need; the leader has what comes of them."""
    prompt, blocks = PROMPTS[0], array("q", range(8))
    chunks = [
        Chunk(0, array("q", prompt), 0, blocks[:4], 0, scoring=Scoring(0, array("q", prompt[1:]), 2)),
        Chunk(1, array("q", prompt), 0, blocks[4:], 0, pooling=Pooling.MEAN),
    ]
    plan = StepPlan(chunks, list(blocks))
    expected, found = (ShardedRunner(checkpoint("llama"), CONFIG, *ways).run(plan) for ways in ((1, 1), (2, 2)))
    assert found.pooled[1] == pytest.approx(expected.pooled[1], abs=1e-4)
    scores = [[token.logprob for token in result.prompt_scores[0]] for result in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert len(scores[0]) == len(prompt) - 1


@pytest.mark.parametrize(
    ("family", "expected"), [("llama", 1 + 2 * 3 + 1), ("falcon", 1 + 3 + 1), ("gpt_neox_sequential", 1 + 2 * 3 + 1)]
)
def test_a_step_talks_no_more_than_it_must(family: str, expected: int, checkpoint: Callable[[str], Path]) -> None:
    """The embedding, one sum in a parallel layer, two in a sequential one, the logits: each is a round of waiting."""
    runner = ShardedRunner(checkpoint(family), CONFIG, 2, 1)
    before = [group.num_calls for group in runner.groups]
    _logits(runner, PROMPTS[0])
    assert [group.num_calls - calls for group, calls in zip(runner.groups, before, strict=True)] == [expected] * 2
