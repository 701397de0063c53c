"""Adapters change the outputs of those who ask for them, as if merged into the weights, and of nobody else."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from fakes.adapters import save_adapter, save_merged
from fakes.checkpoints import VOCAB_SIZE
from near_tie import ReferenceModel, assert_greedy_equal

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.pooling import EmbeddingOptions, Pooling
from penstock_worker.engine.sequence import SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.registry import read_model_config

PROMPT = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]


def load(engine: Engine, model_dir: Path, adapter_dir: Path, name: str) -> AdapterSpec:
    """Has the engine load an adapter."""
    spec = AdapterSpec(name, open_adapter(adapter_dir, read_model_config(model_dir)[1]).revision)
    engine.adapters.load(spec, adapter_dir)
    return spec


def add(engine: Engine, key: int, adapter: str | None, prompt: Sequence[int] = PROMPT, num_tokens: int = 24) -> None:
    """Submits a greedy sequence."""
    sampling = SamplingOptions(max_tokens=num_tokens, ignore_eos=True)
    engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=sampling, adapter=adapter))


def run(engine: Engine) -> dict[int, list[int]]:
    """Steps until nothing is left; returns the outputs by key."""
    outputs: dict[int, list[int]] = {}
    while engine.has_work:
        for output in engine.step().outputs:
            outputs.setdefault(output.key, []).extend(output.token_ids)
    engine.check_invariants()
    return outputs


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_many_adapters_in_one_batch_equal_merged_weights(
    family: str, tmp_path: Path, checkpoint: Callable[[str], Path], reference: Callable[[str], ReferenceModel]
) -> None:
    """All targets, some targets, other ranks and the base model, preempted and mixed, each as if it were alone."""
    model_dir = checkpoint(family)
    adapters = {
        "all": save_adapter(model_dir, tmp_path / "all"),
        "some": save_adapter(model_dir, tmp_path / "some", targets=["k_proj", "up_proj"], rank=2, seed=1),
        "stable": save_adapter(model_dir, tmp_path / "stable", rank=3, seed=2, use_rslora=True),
    }
    references: dict[str | None, ReferenceModel] = {None: reference(family)}
    engine, _ = build_engine(model_dir, EngineConfig(max_step_tokens=37, kv_memory_bytes=150_000, block_size=8))
    for name, adapter_dir in adapters.items():
        load(engine, model_dir, adapter_dir, name)
        references[name] = ReferenceModel(save_merged(model_dir, adapter_dir, tmp_path / f"merged-{name}"))
    asked = [(name, [key + 10, *PROMPT]) for key, name in enumerate([None, *adapters] * 3)]
    for key, (name, prompt) in enumerate(asked):
        add(engine, key, name, prompt)
    outputs = run(engine)
    assert engine.stats().num_preemptions > 0
    for key, (name, prompt) in enumerate(asked):
        assert_greedy_equal(references[name], prompt, outputs[key])


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        ("phi3", ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
        ("gpt2", ["c_attn", "c_proj", "c_fc"]),
        ("falcon_new", ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    ],
)
def test_fused_and_transposed_projections_equal_merged_weights(
    family: str, targets: list[str], tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """Families that store queries, keys and values in one tensor, in an order of their own, or sideways."""
    model_dir, is_transposed = checkpoint(family), family == "gpt2"
    adapter_dir = save_adapter(
        model_dir, tmp_path / "law", targets=targets, is_transposed=is_transposed, fan_in_fan_out=is_transposed
    )
    engine, _ = build_engine(model_dir, EngineConfig())
    load(engine, model_dir, adapter_dir, "law")
    add(engine, 0, "law")
    merged = ReferenceModel(save_merged(model_dir, adapter_dir, tmp_path / "merged"))
    assert_greedy_equal(merged, PROMPT, run(engine)[0])


def test_equal_prompts_of_different_adapters_share_no_keys_and_values(
    tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """An adapter changes keys and values: what another computed is wrong for it."""
    model_dir = checkpoint("llama")
    engine, _ = build_engine(model_dir, EngineConfig(block_size=4))
    for seed, name in enumerate(("one", "two")):
        load(engine, model_dir, save_adapter(model_dir, tmp_path / name, seed=seed), name)
    hits = []
    for adapter in (None, "one", "two", "two", None):
        before = engine.stats().num_prefix_hit_tokens
        add(engine, 0, adapter)
        run(engine)
        hits.append(engine.stats().num_prefix_hit_tokens - before > 0)
    assert hits == [False, False, False, True, True]


def test_unloaded_adapter_finishes_what_runs_and_is_refused_to_others(
    tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """An operator may take an adapter away at any time without breaking a stream."""
    model_dir = checkpoint("llama")
    engine, _ = build_engine(model_dir, EngineConfig())
    load(engine, model_dir, save_adapter(model_dir, tmp_path / "law"), "law")
    add(engine, 0, "law")
    expected = run(engine)[0]
    add(engine, 1, "law")
    engine.step()
    engine.adapters.unload("law")
    assert engine.adapters.specs == ()
    with pytest.raises(NotFoundError, match="no adapter 'law'"):
        engine.validate(SequenceRequest(key=2, prompt_token_ids=PROMPT, sampling=SAMPLING, adapter="law"))
    add(engine, 2, "law")
    outputs: dict[int, list[SequenceOutput]] = {}
    while engine.has_work:
        for output in engine.step().outputs:
            outputs.setdefault(output.key, []).append(output)
    assert [token_id for output in outputs[1] for token_id in output.token_ids] == expected[1:]
    refused = outputs[2][0].end
    assert refused is not None
    assert isinstance(refused.error, NotFoundError)
    assert engine.adapters.num_held == 0


def test_adapter_that_was_replaced_is_refused_to_who_asked_for_the_old_one(
    tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """Between validation and the next step, too: other weights under the same name are another answer."""
    model_dir = checkpoint("llama")
    engine, _ = build_engine(model_dir, EngineConfig())
    old = load(engine, model_dir, save_adapter(model_dir, tmp_path / "old"), "law")
    request = SequenceRequest(
        key=0, prompt_token_ids=PROMPT, sampling=SAMPLING, adapter="law", adapter_revision=old.revision
    )
    engine.validate(request)
    engine.adapters.unload("law")
    load(engine, model_dir, save_adapter(model_dir, tmp_path / "new", seed=5), "law")
    engine.add(request)
    end = engine.step().outputs[0].end
    assert end is not None
    assert isinstance(end.error, FailedPreconditionError)


def test_cancelled_sequence_lets_go_of_its_adapter(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    """Clients leave all the time; an adapter that each of them keeps could never be dropped."""
    model_dir = checkpoint("llama")
    engine, _ = build_engine(model_dir, EngineConfig())
    load(engine, model_dir, save_adapter(model_dir, tmp_path / "law"), "law")
    add(engine, 0, "law")
    engine.step()
    engine.adapters.unload("law")
    assert engine.adapters.num_held == 1
    engine.cancel(0)
    assert engine.adapters.num_held == 0


SAMPLING = SamplingOptions(max_tokens=4)


class Shelf:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.dropped: list[int] = []

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Nothing to do."""

    def drop(self, adapter_id: int) -> None:
        """Notes it."""
        self.dropped.append(adapter_id)


def test_matrices_are_dropped_with_their_last_user() -> None:
    """Memory of an adapter comes back, and not a step too early."""
    shelf = Shelf()
    table = AdapterTable(shelf)
    table.load(AdapterSpec("law", "r1"), Path())
    adapter_id, _ = table.acquire("law")
    table.unload("law")
    assert shelf.dropped == []
    table.load(AdapterSpec("law", "r2"), Path())
    table.release(adapter_id)
    assert (shelf.dropped, table.specs) == ([adapter_id], (AdapterSpec("law", "r2"),))


def test_name_that_is_taken_by_another_adapter_is_refused() -> None:
    """Two replicas could answer differently under one name."""
    table = AdapterTable(Shelf())
    table.load(AdapterSpec("law", "r1"), Path())
    table.load(AdapterSpec("law", "r1"), Path())
    with pytest.raises(FailedPreconditionError, match="another adapter law is loaded"):
        table.load(AdapterSpec("law", "r2"), Path())


class OtherComesFirst(Shelf):
    """While it reads one adapter, another of that name is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.table = AdapterTable(self)

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Lets the other one in."""
        if revision == "r1":
            self.table.load(AdapterSpec("law", "r2"), adapter_dir)


def test_matrices_of_a_load_that_comes_too_late_are_dropped() -> None:
    """Nobody could ask for them, or unload them."""
    shelf = OtherComesFirst()
    with pytest.raises(FailedPreconditionError, match="another adapter law is loaded"):
        shelf.table.load(AdapterSpec("law", "r1"), Path())
    assert (shelf.dropped, shelf.table.specs) == ([1], (AdapterSpec("law", "r2"),))


def test_adapter_that_changed_on_disk_is_refused(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    """All replicas compute the same under one name and revision."""
    model_dir = checkpoint("llama")
    engine, _ = build_engine(model_dir, EngineConfig())
    with pytest.raises(InvalidArgumentError, match="allowed: revision stale"):
        engine.adapters.load(AdapterSpec("law", "stale"), save_adapter(model_dir, tmp_path / "law"))


@pytest.mark.parametrize("setting", [{"quantize": "int8"}, {"dtype": "bfloat16"}])
def test_adapter_on_a_rounded_model_comes_near_merged_weights(
    setting: dict[str, str],
    tmp_path: Path,
    checkpoint: Callable[[str], Path],
    reference: Callable[[str], ReferenceModel],
) -> None:
    """What is added is not rounded with the base: the error is the base's, and far below what the adapter does."""
    model_dir = checkpoint("llama")
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    merged = ReferenceModel(save_merged(model_dir, adapter_dir, tmp_path / "merged"))
    engine, _ = build_engine(model_dir, EngineConfig(**setting))  # type: ignore[arg-type]
    load(engine, model_dir, adapter_dir, "law")
    sampling = SamplingOptions(max_tokens=1, logprobs=VOCAB_SIZE)
    engine.add(SequenceRequest(key=0, prompt_token_ids=PROMPT, sampling=sampling, adapter="law"))
    (output,) = engine.step().outputs
    found = torch.tensor([top.logprob for top in sorted(output.logprobs[0].top, key=lambda top: top.token_id)])
    wanted, unadapted = (model.logits(PROMPT)[-1].log_softmax(-1) for model in (merged, reference("llama")))
    assert float((found - wanted).norm()) < 0.1 * float((unadapted - wanted).norm())


def test_embedding_by_an_adapter_equals_merged_weights(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    """And leaves no keys and values of the base model where the adapter's are looked for."""
    model_dir = checkpoint("llama")
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    merged = ReferenceModel(save_merged(model_dir, adapter_dir, tmp_path / "merged"))
    engine, _ = build_engine(model_dir, EngineConfig(block_size=4))
    load(engine, model_dir, adapter_dir, "law")
    sampling, embedding = SamplingOptions(max_tokens=1), EmbeddingOptions(Pooling.LAST, is_normalized=False)
    request = SequenceRequest(key=0, prompt_token_ids=PROMPT, sampling=sampling, embedding=embedding, adapter="law")
    engine.add(request)
    (output,) = engine.step().outputs
    torch.testing.assert_close(torch.tensor(output.embedding), merged.hidden(PROMPT)[-1], atol=1e-4, rtol=0.0)
    add(engine, 1, "law")
    assert_greedy_equal(merged, PROMPT, run(engine)[1])
