"""A contestant's process: loads, then runs a round for each line it reads. The first, unasked for, warms up."""

import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from sharding_bench.contestants import CONTESTANTS, NUM_CORES
from sharding_bench.round import RoundResult
from sharding_bench.stopwatch import Stopwatch

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.models.tensor_group import TensorGroup
from penstock_worker.parallel.followers import Followers
from penstock_worker.parallel.process import run_shard
from penstock_worker.parallel.rendezvous import Rendezvous
from penstock_worker.parallel.team import ShardTeam
from penstock_worker.parallel.topology import Topology

_JOIN_LIMIT_S = 120.0


class _Watches:
    """Where a step's time goes."""

    def __init__(self) -> None:
        self.reduce, self.plan, self.receive = Stopwatch(), Stopwatch(), Stopwatch()


class _TimedTeam(ShardTeam):
    """A team whose group and links have their time taken."""

    def __init__(self, followers: Followers, watches: _Watches) -> None:
        super().__init__(followers)
        self._watches = watches

    def connect(self, device: torch.device) -> TensorGroup:
        group = super().connect(device)
        assert self._wiring is not None
        group.all_reduce = self._watches.reduce.timed(group.all_reduce)  # type: ignore[method-assign]
        if self._wiring.below is not None:
            link = self._wiring.below
            link.receive = self._watches.receive.timed(link.receive)  # type: ignore[method-assign]
        return group


def main() -> None:
    """Reads seeds, writes results, both a line each."""
    name, model_dir, *words, dtype = sys.argv[1:]
    batch, prompt_tokens, new_tokens = map(int, words)
    topology, watches = CONTESTANTS[name], _Watches()
    config = EngineConfig(device="cpu", dtype=dtype, num_threads=NUM_CORES // topology.num_shards, prefix_cache=False)
    with ExitStack() as stack:
        team = _team(topology, Path(model_dir), config, watches, stack) if topology.num_shards > 1 else None
        engine, loaded = build_engine(Path(model_dir), config, team)
        requests = _Requests(loaded.vocab_size, batch, prompt_tokens, new_tokens)
        _round(engine, requests, -1, watches)
        for line in sys.stdin:
            print(json.dumps(asdict(_round(engine, requests, int(line), watches))), flush=True)
    os._exit(0)


def _team(topology: Topology, model_dir: Path, config: EngineConfig, watches: _Watches, stack: ExitStack) -> ShardTeam:
    rendezvous, context = Rendezvous("127.0.0.1"), multiprocessing.get_context("spawn")
    for rank in topology.follower_ranks:
        arguments = (rendezvous.invitation, topology, rank, model_dir, config)
        context.Process(target=run_shard, args=arguments, daemon=True).start()
    members = rendezvous.admit(topology.follower_ranks, limit_s=_JOIN_LIMIT_S)
    followers = Followers(topology, members, "127.0.0.1", sys.exit)
    followers.tell = watches.plan.timed(followers.tell)  # type: ignore[method-assign]
    stack.callback(followers.close)
    return _TimedTeam(followers, watches)


class _Requests:
    """Those of a round: random prompts, other ones for each seed, the same for every contestant."""

    def __init__(self, vocab_size: int, batch: int, prompt_tokens: int, new_tokens: int) -> None:
        self._vocab_size, self._batch, self._prompt_tokens = vocab_size, batch, prompt_tokens
        self._sampling = SamplingOptions(max_tokens=new_tokens, ignore_eos=True)

    def of(self, seed: int) -> list[SequenceRequest]:
        draw = random.Random(seed)
        prompts = [draw.choices(range(self._vocab_size), k=self._prompt_tokens) for _ in range(self._batch)]
        return [
            SequenceRequest(key=key, prompt_token_ids=prompt, sampling=self._sampling)
            for key, prompt in enumerate(prompts)
        ]


def _round(engine: Engine, requests: _Requests, seed: int, watches: _Watches) -> RoundResult:
    begin_s, num_tokens, waited_s = time.perf_counter(), 0, 0.0
    decode_s: list[float] = []
    reduce_s: list[float] = []
    plan_s: list[float] = []
    for request in requests.of(seed):
        engine.add(request)
    while engine.has_work:
        computed = engine.stats().num_computed_tokens
        result = engine.step()
        laps = watches.reduce.lap_s(), watches.plan.lap_s(), watches.receive.lap_s()
        num_tokens += sum(len(output.token_ids) for output in result.outputs)
        waited_s += laps[2]
        if engine.stats().num_computed_tokens - computed == result.num_sequences:
            decode_s.append(result.duration_s)
            reduce_s.append(laps[0])
            plan_s.append(laps[1])
    total_s = time.perf_counter() - begin_s
    return RoundResult(
        tokens_per_s=num_tokens / total_s,
        step_ms=1000 * statistics.median(decode_s),
        reduce_ms=1000 * statistics.median(reduce_s),
        plan_ms=1000 * statistics.median(plan_s),
        waiting_share=waited_s / total_s,
    )


if __name__ == "__main__":
    main()
