"""A model of which each thread of this process holds a shard, behind the interface of a model runner."""

from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import torch

from fakes.thread_group import ThreadGroup, thread_groups
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.fixed_attention import FixedAttention
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.load_model import load_own
from penstock_worker.engine.model_runner import ModelRunner, StepLogits
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.validation import EngineLimits
from penstock_worker.models.decoder import Attend, Decoder
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.shard import Shard

NUM_BLOCKS = 96
Result = TypeVar("Result")


class ShardedRunner:
    """A `StepRunner` and an `AdapterLoader`; loads a checkpoint at `tensor_parallel` x `pipeline_parallel`."""

    def __init__(self, model_dir: Path, config: EngineConfig, tensor_parallel: int, pipeline_parallel: int) -> None:
        self.shards = [
            Shard(rank, tensor_parallel, stage, pipeline_parallel)
            for stage in reversed(range(pipeline_parallel))
            for rank in range(tensor_parallel)
        ]
        groups_of_stages = [thread_groups(tensor_parallel) for _ in range(pipeline_parallel)]
        self.groups = [groups_of_stages[shard.stage][shard.tp_rank] for shard in self.shards]
        self._threads = ThreadPoolExecutor(len(self.shards))
        _, self.model_config = read_model_config(model_dir)
        self.models: list[RunnableModel] = self._on_all(
            lambda index: load_own(
                Checkpoint(model_dir), self.model_config, config, self.shards[index], self.groups[index]
            )
        )
        links: dict[Shard, SimpleQueue[torch.Tensor]] = {shard: SimpleQueue() for shard in self.shards}
        self._runners = [
            _runner(model, shard, links, config) for model, shard in zip(self.models, self.shards, strict=True)
        ]

    def run(self, plan: StepPlan) -> StepLogits:
        """See `ModelRunner.run`; what the leader has."""
        results: list[StepLogits] = self._on_all(lambda index: self._runners[index].run(plan))
        return results[0]

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """See `AdapterBank.load`."""
        for model in self.models:
            assert model.adapters is not None
            model.adapters.load(adapter_id, adapter_dir, revision)

    def drop(self, adapter_id: int) -> None:
        """See `AdapterBank.drop`."""
        for model in self.models:
            assert model.adapters is not None
            model.adapters.drop(adapter_id)

    def _on_all(self, work: Callable[[int], Result]) -> list[Result]:
        """Does the work of every shard at once, the leader's first in the list; raises the first error."""

        def guarded(index: int, group: ThreadGroup) -> Result:
            try:
                return work(index)
            except BaseException:
                group.abort()
                raise

        futures = [self._threads.submit(guarded, index, group) for index, group in enumerate(self.groups)]
        return [future.result() for future in futures]


class _StagedModel:
    """A `Model` whose hidden states come from the stage below and go to the one above."""

    def __init__(
        self, decoder: Decoder, below: "SimpleQueue[torch.Tensor] | None", above: "SimpleQueue[torch.Tensor] | None"
    ) -> None:
        self._decoder = decoder
        self._below = below
        self._above = above
        self.final_hidden = decoder.final_hidden
        self.logits = decoder.logits

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """See `Model.hidden_states`."""
        embedded = self._decoder.embed(token_ids, positions) if self._below is None else self._below.get(timeout=60)
        hidden = self._decoder.run_layers(embedded, positions, attend)
        if self._above is not None:
            self._above.put(hidden.clone())
        return hidden


def _runner(
    model: RunnableModel, shard: Shard, links: "dict[Shard, SimpleQueue[torch.Tensor]]", config: EngineConfig
) -> ModelRunner:
    assert isinstance(model.model, Decoder)
    size = (model.shape.num_layers, NUM_BLOCKS + 1, config.block_size, 2 * model.shape.num_kv_heads)
    cache = KvCache(torch.empty(*size, model.shape.head_dim, dtype=model.dtype))
    above = None if shard.is_last_stage else Shard(shard.tp_rank, shard.tp_size, shard.stage + 1, shard.num_stages)
    staged = _StagedModel(
        model.model, None if shard.is_first_stage else links[shard], None if above is None else links[above]
    )
    attention = FixedAttention if config.deterministic else StepAttention
    return ModelRunner(staged, cache, model.attention, model.adapters, attention)


def sharded_engine(runner: ShardedRunner, config: EngineConfig) -> Engine:
    """An engine over the shards."""
    pool = BlockPool(NUM_BLOCKS, config.block_size, PrefixIndex())
    limits = EngineLimits(
        max_running_sequences=config.max_running_sequences,
        max_step_tokens=config.max_step_tokens,
        context_length=runner.model_config.context_length,
        block_size=config.block_size,
        num_blocks=NUM_BLOCKS,
        has_prefix_cache=True,
    )
    return Engine(
        scheduler=Scheduler(
            pool, max_running_sequences=config.max_running_sequences, max_step_tokens=config.max_step_tokens
        ),
        runner=runner,
        sampler=Sampler(),
        limits=limits,
        vocab_size=runner.model_config.vocab_size,
        eos_token_ids=frozenset(),
        adapters=AdapterTable(runner),
    )


class OneProcess:
    """The same checkpoint in one piece, as a reference for greedy decoding."""

    def __init__(self, model_dir: Path, config: EngineConfig) -> None:
        self._runner = ShardedRunner(model_dir, config, 1, 1)
        self._block_size = config.block_size

    def logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Logits after each token: float32 [len(token_ids), vocab_size]."""
        blocks = list(range(-(-len(token_ids) // self._block_size)))
        chunk = Chunk(0, array("q", token_ids), 0, array("q", blocks), len(token_ids))
        return self._runner.run(StepPlan([chunk], blocks)).values
