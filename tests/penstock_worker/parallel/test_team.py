"""A model over several processes: what it says, and what becomes of it when one of them is gone."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.adapters import save_adapter
from fakes.checkpoints import VOCAB_SIZE, save_checkpoint
from fakes.shard_processes import shard_team

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.loaded_model import LoadedModel
from penstock_worker.engine.pooling import EmbeddingOptions, Pooling
from penstock_worker.engine.sequence import SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.registry import read_model_config
from penstock_worker.parallel.topology import Topology

_LIMIT_S = 60
_CONFIG = EngineConfig(device="cpu", dtype="float32", max_step_tokens=300, num_threads=1)
_TOPOLOGIES = [Topology(2, 1), Topology(1, 2), Topology(2, 2)]


@dataclass
class Losses:
    """Why a replica is beyond use, as its team tells it."""

    told: list[str] = field(default_factory=list)
    heard: threading.Event = field(default_factory=threading.Event)

    def __call__(self, why: str) -> None:
        """Keeps it."""
        self.told.append(why)
        self.heard.set()


@dataclass(frozen=True)
class Sharded:
    """An engine over several processes."""

    engine: Engine
    loaded: LoadedModel
    shards: list[psutil.Process]
    losses: Losses


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers."""
    return save_checkpoint("llama", tmp_path_factory.mktemp("llama"))


def _sharded(stack: ExitStack, topology: Topology, model_dir: Path) -> Sharded:
    losses = Losses()
    team, processes = stack.enter_context(shard_team(topology, model_dir, _CONFIG, losses))
    engine, loaded = build_engine(model_dir, _CONFIG, team)
    return Sharded(engine, loaded, [psutil.Process(process.pid) for process in processes], losses)


@pytest.fixture(scope="module", params=_TOPOLOGIES, ids=str)
def sharded(request: pytest.FixtureRequest, model_dir: Path) -> Iterator[Sharded]:
    """An engine over two or four processes."""
    with ExitStack() as stack:
        yield _sharded(stack, request.param, model_dir)


@pytest.fixture(scope="module")
def whole(model_dir: Path) -> Engine:
    """The same model in one process."""
    return build_engine(model_dir, _CONFIG)[0]


def _run(engine: Engine, requests: list[SequenceRequest]) -> dict[int, list[SequenceOutput]]:
    outputs: dict[int, list[SequenceOutput]] = {request.key: [] for request in requests}
    for request in requests:
        engine.validate(request)
        engine.add(request)
    while engine.has_work:
        for output in engine.step().outputs:
            outputs[output.key].append(output)
    engine.check_invariants()
    return outputs


def _request(key: int, num_prompt_tokens: int, **options: Any) -> SequenceRequest:
    prompt = [(key * 31 + index * 7) % (VOCAB_SIZE - 10) + 5 for index in range(num_prompt_tokens)]
    return SequenceRequest(
        key=key, prompt_token_ids=prompt, sampling=SamplingOptions(max_tokens=24, ignore_eos=True), **options
    )


def _tokens(outputs: dict[int, list[SequenceOutput]]) -> dict[int, list[int]]:
    return {key: [token for output in each for token in output.token_ids] for key, each in outputs.items()}


def test_a_batch_says_what_one_process_says(sharded: Sharded, whole: Engine) -> None:
    """Long and short prompts, in chunks that a pipeline cuts, beside sequences that generate."""
    requests = [_request(key, length) for key, length in enumerate([1, 200, 7, 333, 64, 17])]
    assert _tokens(_run(sharded.engine, requests)) == _tokens(_run(whole, requests))


def test_scores_and_embeddings_are_those_of_one_process(sharded: Sharded, whole: Engine) -> None:
    """They take other rows of the last stage than sampling does; all its shards must make the same calls."""
    embedding = EmbeddingOptions(Pooling.MEAN, is_normalized=True)
    requests = [_request(1, 90, prompt_logprobs=2), _request(2, 130, embedding=embedding), _request(3, 5)]
    ours, theirs = _run(sharded.engine, requests), _run(whole, requests)
    assert _tokens(ours) == _tokens(theirs)
    scores = [
        [score.logprob for output in outputs[1] for score in output.prompt_logprobs] for outputs in (ours, theirs)
    ]
    assert len(scores[0]) == 89
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert ours[2][-1].embedding == pytest.approx(theirs[2][-1].embedding, abs=1e-5)


def test_an_adapter_is_on_every_shard(sharded: Sharded, whole: Engine, model_dir: Path, tmp_path: Path) -> None:
    """Each holds its part of it; one without would add the base model's numbers to the others'."""
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    spec = AdapterSpec("law", open_adapter(adapter_dir, read_model_config(model_dir)[1]).revision)
    for engine in (sharded.engine, whole):
        engine.adapters.load(spec, adapter_dir)
    requests = [_request(1, 20, adapter="law"), _request(2, 20)]
    adapted = _tokens(_run(sharded.engine, requests))
    assert adapted == _tokens(_run(whole, requests))
    assert adapted[1] != _tokens(_run(whole, [_request(1, 20)]))[1]
    for engine in (sharded.engine, whole):
        engine.adapters.unload("law")


def test_an_adapter_that_one_shard_cannot_read_is_on_none(sharded: Sharded, model_dir: Path, tmp_path: Path) -> None:
    """The others drop it again, so that it can be loaded once the reason is gone."""
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    with pytest.raises((InvalidArgumentError, FailedPreconditionError), match="revision"):
        sharded.engine.adapters.load(AdapterSpec("law", "another"), adapter_dir)
    spec = AdapterSpec("law", open_adapter(adapter_dir, read_model_config(model_dir)[1]).revision)
    sharded.engine.adapters.load(spec, adapter_dir)
    assert len(_tokens(_run(sharded.engine, [_request(1, 20, adapter="law")]))[1]) == 24
    sharded.engine.adapters.unload("law")


def test_the_weights_are_shared_out(sharded: Sharded, model_dir: Path) -> None:
    """What the shards hold is the model once, but for norms and, where heads do not divide, some keys and values."""
    _, alone = build_engine(model_dir, _CONFIG)
    assert alone.weight_bytes <= sharded.loaded.weight_bytes < 1.3 * alone.weight_bytes
    assert f"tensor parallel {sharded.loaded.shard.tp_size}" in sharded.loaded.plan


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_shard_is_told_of(number: signal.Signals, model_dir: Path) -> None:
    """Whether it died or hangs: the rest of the replica waits for it, and would for ever."""
    with ExitStack() as stack:
        sharded = _sharded(stack, Topology(2, 1), model_dir)
        os.kill(sharded.shards[0].pid, number)
        assert sharded.losses.heard.wait(_LIMIT_S)
        assert sharded.losses.told[0].startswith("shard 1: ")
        sharded.shards[0].kill()


def test_shards_end_with_their_leader(model_dir: Path) -> None:
    """A leader that was killed cannot tell them, and each holds a part of a model."""
    with ExitStack() as stack:
        sharded = _sharded(stack, Topology(2, 2), model_dir)
        stack.close()
        gone, alive = psutil.wait_procs(sharded.shards, timeout=_LIMIT_S)
        assert (len(gone), alive) == (3, [])
        assert sharded.losses.told == []


def test_a_shard_that_cannot_load_says_why(model_dir: Path, tmp_path: Path) -> None:
    """Nodes have disks of their own: the operator has to know which one lacks what."""
    with (
        shard_team(Topology(2, 1), tmp_path, _CONFIG, Losses()) as (team, _),
        pytest.raises(FailedPreconditionError, match=r"shard 1: .*config\.json"),
    ):
        build_engine(model_dir, _CONFIG, team)
