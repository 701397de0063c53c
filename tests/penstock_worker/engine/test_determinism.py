"""In deterministic mode what a request gets depends on nothing but itself, to the last bit."""

import random
import struct
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.adapters import save_adapter
from fakes.checkpoints import VOCAB_SIZE, save_blurred_copy

from penstock_shared.directory import AdapterSpec
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest, TokenLogprobs
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.registry import read_model_config
from penstock_worker.replica.actor import numerics_fingerprint

FAMILIES = (
    "llama_biases", "mistral_window", "qwen2_some_windows", "qwen2_moe", "qwen3", "gemma2", "gemma3", "phi3",
    "gpt2", "gpt2_odd", "gpt_neox", "falcon", "bloom", "mpt", "mixtral",
)  # fmt: skip
CONFIG = EngineConfig(device="cpu", block_size=8, deterministic=True)
_STEM = [7 * index % VOCAB_SIZE for index in range(150)]


def _requests(number: int, *, adapter: str | None = None) -> list[SequenceRequest]:
    """Prompts of 1 to 180 tokens, some with a common beginning or repeating themselves; greedy and drawn.

    Every fourth is drawn from few tokens, so that its output repeats itself.
    """
    generator = random.Random(3)
    requests = []
    for key in range(number):
        own = [generator.randrange(VOCAB_SIZE) for _ in range(generator.randint(1, 30))]
        prompt = generator.choice([own, own * 2, _STEM[: generator.randint(1, 150)] + own])
        sampling = SamplingOptions(
            max_tokens=generator.randint(1, 5) if key % 4 else 12,
            temperature=generator.choice([0.0, 0.7, 1.5]),
            top_p=generator.choice([1.0, 0.9]),
            top_k=generator.choice([0, 0, 20]),
            seed=key,
            logprobs=generator.choice([0, 3, 5]),
            logit_bias={} if key % 4 else dict.fromkeys((3, 5, 8), 15.0),
            ignore_eos=True,
        )
        requests.append(
            SequenceRequest(
                key=key,
                prompt_token_ids=prompt,
                sampling=sampling,
                criticality=generator.choice([1, 2, 3]),
                prompt_logprobs=generator.choice([None, None, 2]),
                adapter=adapter if key % 3 == 0 else None,
            )
        )
    return requests


def _bits(logprobs: list[TokenLogprobs]) -> bytes:
    """Every number of them, as it is in memory."""
    parts = []
    for token in logprobs:
        pairs = [(token.token_id, token.logprob), *((top.token_id, top.logprob) for top in token.top)]
        parts += [struct.pack("<qd", *pair) for pair in pairs]
    return b"".join(parts)


def _run(engine: Engine, requests: list[SequenceRequest], *, num_at_once: int) -> dict[int, bytes]:
    """Tokens and log probabilities of each request; `num_at_once` more come in with every second step."""
    tokens: dict[int, array[int]] = {request.key: array("q") for request in requests}
    told: dict[int, list[list[TokenLogprobs]]] = {request.key: [[], []] for request in requests}
    waiting = list(requests)
    while waiting or engine.has_work:
        for request in waiting[:num_at_once]:
            engine.add(request)
        del waiting[:num_at_once]
        for output in engine.step().outputs + engine.step().outputs:
            tokens[output.key].extend(output.token_ids)
            told[output.key][0] += output.logprobs
            told[output.key][1] += output.prompt_logprobs
    assert all(len(tokens[request.key]) == request.sampling.max_tokens for request in requests)
    return {key: tokens[key].tobytes() + b"".join(map(_bits, told[key])) for key in tokens}


def _alone(engine: Engine, requests: list[SequenceRequest]) -> dict[int, bytes]:
    """Each on its own, in an engine that keeps nothing between them."""
    outputs: dict[int, bytes] = {}
    for request in requests:
        outputs |= _run(engine, [request], num_at_once=1)
    return outputs


def _crowded(config: EngineConfig, model_dir: Path, *, num_models: int = 1, **changes: Any) -> EngineConfig:
    """With a KV cache of 40 blocks, which preempts, for each of `num_models` of one shape; and `changes`."""
    _, loaded = build_engine(model_dir, EngineConfig(device="cpu", block_size=config.block_size))
    return replace(config, kv_memory_bytes=num_models * 41 * loaded.kv_plan.block_bytes, **changes)


@pytest.fixture(scope="module")
def draft_dir(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that drafts for "llama", and is wrong at times."""
    return save_blurred_copy(checkpoint("llama"), tmp_path_factory.mktemp("draft") / "blurred")


@pytest.fixture(scope="module")
def expected(checkpoint: Callable[[str], Path]) -> dict[int, bytes]:
    """What 200 requests get of "llama", each alone, token after token, with nothing kept between them."""
    engine, _ = build_engine(checkpoint("llama"), replace(CONFIG, prefix_cache=False))
    return _alone(engine, _requests(200))


@pytest.mark.parametrize(("max_step_tokens", "num_at_once"), [(23, 3), (512, 9)])
def test_200_requests_in_random_batches_get_what_they_get_alone(
    max_step_tokens: int, num_at_once: int, expected: dict[int, bytes], checkpoint: Callable[[str], Path]
) -> None:
    """Preemption, prefix hits and chunk sizes change no bit of tokens and log probabilities."""
    config = _crowded(CONFIG, checkpoint("llama"), max_step_tokens=max_step_tokens)
    engine, _ = build_engine(checkpoint("llama"), config)
    assert _run(engine, _requests(200), num_at_once=num_at_once) == expected
    stats = engine.stats()
    assert stats.num_preemptions > 0
    assert stats.num_prefix_hit_tokens > 0


@pytest.mark.parametrize("drafter", ["prompt-lookup", "checkpoint"])
@pytest.mark.parametrize("is_alone", [True, False])
def test_200_requests_get_with_drafts_what_they_get_without(
    drafter: str, *, is_alone: bool, expected: dict[int, bytes], checkpoint: Callable[[str], Path], draft_dir: Path
) -> None:
    """A drafted token is computed in another step and beside others than it would be, and has the same bits."""
    speculate = str(draft_dir) if drafter == "checkpoint" else drafter
    config = replace(CONFIG, speculate=speculate, draft_tokens=4)
    if not is_alone:
        config = _crowded(config, checkpoint("llama"), num_models=1 + (drafter == "checkpoint"), max_step_tokens=67)
    engine, _ = build_engine(checkpoint("llama"), config)
    outputs = _alone(engine, _requests(200)) if is_alone else _run(engine, _requests(200), num_at_once=7)
    assert outputs == expected
    stats = engine.stats()
    assert (stats.num_preemptions > 0) == (not is_alone)
    assert stats.num_accepted_tokens > 20
    assert stats.num_drafted_tokens - stats.num_accepted_tokens > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_bits_in_a_batch(family: str, checkpoint: Callable[[str], Path]) -> None:
    """Windows, soft caps, ALiBi, experts and every activation are fixed."""
    model_dir, requests = checkpoint(family), _requests(10)
    alone, _ = build_engine(model_dir, replace(CONFIG, prefix_cache=False))
    engine, _ = build_engine(model_dir, _crowded(CONFIG, model_dir, max_step_tokens=41))
    assert _run(engine, requests, num_at_once=5) == _alone(alone, requests)


@pytest.mark.parametrize(("dtype", "quantize"), [("bfloat16", "none"), ("float32", "int8"), ("float32", "int4")])
def test_rounded_models_keep_their_bits_in_a_batch(
    dtype: str, quantize: str, checkpoint: Callable[[str], Path]
) -> None:
    """What is promised of float32 holds for every precision that the mode accepts."""
    model_dir, requests, config = checkpoint("qwen3"), _requests(10), replace(CONFIG, dtype=dtype, quantize=quantize)
    alone, _ = build_engine(model_dir, replace(config, prefix_cache=False))
    engine, _ = build_engine(model_dir, replace(config, max_step_tokens=41))
    assert _run(engine, requests, num_at_once=5) == _alone(alone, requests)


def test_adapters_keep_their_bits_in_a_batch(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """An adapter's matrices multiply as many rows as there happen to be of its own."""
    model_dir, requests = checkpoint("llama"), _requests(10, adapter="law")
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    spec = AdapterSpec("law", open_adapter(adapter_dir, read_model_config(model_dir)[1]).revision)
    alone, _ = build_engine(model_dir, replace(CONFIG, prefix_cache=False))
    engine, _ = build_engine(model_dir, replace(CONFIG, max_step_tokens=41))
    for each in (alone, engine):
        each.adapters.load(spec, adapter_dir)
    assert _run(engine, requests, num_at_once=5) == _alone(alone, requests)


def test_fast_arithmetic_does_not_keep_bits(checkpoint: Callable[[str], Path]) -> None:
    """Else the tests above would say nothing."""
    model_dir, requests = checkpoint("llama"), _requests(10)
    fast = replace(CONFIG, deterministic=False)
    alone, _ = build_engine(model_dir, replace(fast, prefix_cache=False))
    engine, _ = build_engine(model_dir, replace(fast, max_step_tokens=41))
    assert _run(engine, requests, num_at_once=5) != _alone(alone, requests)


def test_mode_is_part_of_the_numerics(checkpoint: Callable[[str], Path]) -> None:
    """Failover is exact only between replicas that both run so."""
    _, loaded = build_engine(checkpoint("llama"), CONFIG)
    _, other = build_engine(checkpoint("llama"), replace(CONFIG, deterministic=False))
    assert f"float32+deterministic/tp1.pp1/cpu/{other.kernels} tiles 4x128" in numerics_fingerprint(loaded)
    assert "deterministic" not in numerics_fingerprint(other)


def test_models_that_transformers_runs_are_refused(checkpoint: Callable[[str], Path]) -> None:
    """Its modules multiply as they like."""
    with pytest.raises(InvalidArgumentError, match="deterministic: got 'true'; allowed: false for Cohere"):
        build_engine(checkpoint("cohere"), CONFIG)
